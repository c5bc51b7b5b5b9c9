import type { Datum, ReportProblem } from "../report-model.js";
import type { ComparableResult } from "../compare-results.js";
import type { JudgingInput } from "./read-judging.js";
import type { SweepRecord } from "../../runs/sweep-record.js";

/** A result with all that a table shows of it. */
export interface ReportResult extends ComparableResult {
  readonly chance: number | null;
  readonly majority: number | null;
  /** Wilson's 95 % interval of the accuracy. */
  readonly interval: readonly [number, number] | null;
  readonly total: number;
}

/** A training's curves, from its events. */
export interface Curves {
  /** Weight steps; loss in nats an answer token. */
  readonly losses: readonly { readonly step: number; readonly loss: number }[];
  readonly evaluations: readonly { readonly step: number; readonly perplexity: number; readonly best: boolean }[];
  /** Share of each expert as the most probable one at the last evaluation; null without routers. */
  readonly expertShare: Readonly<Record<string, number>> | null;
}

/** What could be read of a run's folder; a field is null where it could not. */
export interface RunInput {
  /** The folder, as short as it is told apart. */
  readonly name: string;
  readonly state: string | null;
  readonly model: string | null;
  /** The spec of its method. */
  readonly method: Readonly<Record<string, unknown>>;
  readonly task: string | null;
  readonly seed: number | null;
  readonly device: string | null;
  readonly dtype: string | null;
  readonly step: number | null;
  readonly stoppedBy: string | null;
  readonly best: { readonly step: number; readonly devPerplexity: number } | null;
  readonly tokensPerSecond: number | null;
  readonly parameters: {
    readonly trainable: number;
    readonly activated: { readonly min: number; readonly mean: number; readonly max: number };
  } | null;
  readonly curves: Curves;
  readonly results: readonly ReportResult[];
  readonly routing: readonly RoutingInput[];
  readonly judgings: readonly JudgingInput[];
}

export interface SweepInput {
  readonly record: SweepRecord;
  /** What could be read of the jobs' runs, by job. */
  readonly runs: ReadonlyMap<string, RunInput>;
}

/** Rows of `bench … --json`. */
export interface BenchInput {
  readonly kind: "decode" | "tenants" | "train" | "bridge";
  readonly name: string;
  readonly rows: readonly Datum[];
  readonly machine: string;
}

/** How often each expert of each layer was active. */
export interface RoutingInput {
  /** The run that a task's routing is of; the task, and the run, that a prompt is of; null where a file does not say. */
  readonly source: string | null;
  /** A task, or a prompt. */
  readonly name: string;
  /** Layer → expert → share of the prompts, or a prompt's gate. */
  readonly layers: readonly Readonly<Record<string, number>>[];
  readonly measure: "share of prompts" | "gate";
}

/** All that a report is made of. */
export interface ReportInputs {
  readonly sweeps: readonly SweepInput[];
  readonly runs: readonly RunInput[];
  readonly results: readonly { readonly name: string; readonly result: ReportResult }[];
  readonly benches: readonly BenchInput[];
  readonly routing: readonly RoutingInput[];
  readonly judgings: readonly JudgingInput[];
  readonly problems: readonly ReportProblem[];
}

export const noInputs: ReportInputs = {
  sweeps: [],
  runs: [],
  results: [],
  benches: [],
  routing: [],
  judgings: [],
  problems: [],
};

/** Several inputs as one, in order. */
export const joinInputs = (parts: readonly ReportInputs[]): ReportInputs => ({
  sweeps: parts.flatMap(({ sweeps }) => sweeps),
  runs: parts.flatMap(({ runs }) => runs),
  results: parts.flatMap(({ results }) => results),
  benches: parts.flatMap(({ benches }) => benches),
  routing: parts.flatMap(({ routing }) => routing),
  judgings: parts.flatMap(({ judgings }) => judgings),
  problems: parts.flatMap(({ problems }) => problems),
});
