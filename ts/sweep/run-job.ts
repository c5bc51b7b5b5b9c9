import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import type { Manifest } from "../runs/manifest.js";
import { readManifest, runFolder } from "../runs/run-folder.js";
import { lockRunWithin } from "../runs/run-lock.js";
import { evaluationFigures, type ScoreFigures, type TrainFigures } from "../runs/sweep-record.js";
import { writeFileAtomic } from "../util/files.js";
import type { ChildCall, ChildEnd, StartChildren, WorkEnd } from "./child.js";
import type { SweepJob } from "./expand.js";
import { taskPlace } from "./task-place.js";

/** `again`: whether another try may help; wrong input stays wrong. `lost`: the run's machine went, not the run. */
export interface JobFailure {
  readonly error: string;
  readonly again: boolean;
  readonly lost?: boolean;
}

export type JobOutcome =
  | { readonly train: TrainFigures | null; readonly scores: readonly ScoreFigures[] | null }
  | JobFailure;

export interface JobPlaces {
  readonly root: string;
  readonly spec: string;
  /** The folder of the training run. */
  readonly run: string;
  /** Every row's output, of the untuned model. */
  readonly outputs: string;
}

export const jobPlaces = (out: string, id: string): JobPlaces => {
  const root = join(out, "runs", id);
  return { root, spec: join(root, "spec.json"), run: join(root, "run"), outputs: join(root, "outputs.json") };
};

const toldError = z.object({ error: z.object({ message: z.string() }) });

const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
};

/** What a child that did not end well says of it: its JSON error, else the last of its stderr. */
const failureOf = (what: string, { exitCode, signal, stdout, stderr }: ChildEnd): JobFailure => {
  const told = toldError.safeParse(parsed(stdout));
  const last = stderr.trimEnd().split("\n").slice(-5).join("\n");
  const how = signal === null ? `exit code ${String(exitCode)}` : `signal ${signal}`;
  return { error: `${what} (${how}): ${told.success ? told.data.error.message : last}`, again: exitCode !== 2 };
};

/** The end of a call that was stopped before it was made. */
const neverMade: ChildEnd = { exitCode: null, signal: null, stdout: "", stderr: "stopped before it began" };

const finishedRun = (run: string): Manifest | undefined => {
  const folder = runFolder(run);
  const manifest = existsSync(folder.manifest) ? readManifest(folder) : undefined;
  return manifest?.state === "finished" ? manifest : undefined;
};

const figuresOf = (manifest: Manifest): TrainFigures => {
  const { versions, device, dtype, plan, step, stoppedBy, best, tokensPerSecond, parameters } = manifest;
  return { versions, device, dtype, plan, step, stoppedBy, best, tokensPerSecond, parameters };
};

/** How long a run may be held by the process of an earlier try: another machine's counts as gone after a minute. */
const heldMs = 90_000;

/**
 * Waits for an earlier try that has ended a moment ago, also on a machine that is gone, and clears what it left where
 * it had not begun: the next one may be started on any machine.
 */
const clearEarlier = async (run: string, signal: AbortSignal): Promise<void> => {
  if (!existsSync(run)) return;
  const { lock, manifest } = runFolder(run);
  const release = await lockRunWithin(run, lock, { limitMs: heldMs, signal });
  if (!existsSync(manifest)) rmSync(run, { recursive: true, force: true });
  release();
};

const option = (name: string, value: string | number | undefined): readonly string[] =>
  value === undefined ? [] : [`--${name}`, String(value)];

/** The arguments of `milora eval` for a job. */
const scoreArguments = ({ kind, spec, evaluate }: SweepJob, places: JobPlaces): readonly string[] => {
  const { model, data, train: settings } = spec;
  const { dir, hub } = taskPlace(data);
  return [
    "eval",
    ...option("model", model),
    ...option("tasks", evaluate?.tasks.join(",")),
    ...(kind === "run" ? option("adapter", runFolder(places.run).adapter) : option("outputs", places.outputs)),
    ...option("data", dir),
    ...option("hub", hub?.id),
    ...option("hub-config", hub?.config),
    ...option("hub-revision", hub?.revision),
    ...option("scorer", evaluate?.scorer),
    ...option("template", evaluate?.template),
    ...option("beams", evaluate?.beams),
    ...option("limit", evaluate?.limit),
    ...option("max-new-tokens", evaluate?.maxNewTokens),
    ...option("device", settings.device),
    ...option("dtype", settings.dtype),
    ...option("quantization", settings.quantization),
    "--json",
  ];
};

/** What a job's calls of our program come to; those of a finished training are not made again. */
interface JobCalls {
  readonly train: ChildCall | undefined;
  readonly score: ChildCall | undefined;
}

const callsOf = async (job: SweepJob, places: JobPlaces, signal: AbortSignal): Promise<JobCalls> => {
  const score = job.evaluate === undefined ? undefined : { args: scoreArguments(job, places), log: "eval.log" };
  if (job.kind !== "run" || finishedRun(places.run) !== undefined) return { train: undefined, score };
  await clearEarlier(places.run, signal);
  await writeFileAtomic(places.spec, `${JSON.stringify(job.spec, undefined, 2)}\n`);
  return {
    train: { args: ["train", places.spec, "--out", places.run, "--resume", "--json"], log: "train.log" },
    score,
  };
};

const scoresOf = ({ stdout }: ChildEnd): readonly ScoreFigures[] | JobFailure => {
  const said = evaluationFigures.safeParse(parsed(stdout));
  if (said.success) return said.data.results;
  return { error: `eval printed what is no result: ${stdout.slice(0, 200)}`, again: true };
};

const outcomeOf = (
  job: SweepJob,
  places: JobPlaces,
  { calls, end }: { readonly calls: JobCalls; readonly end: WorkEnd },
): JobOutcome => {
  if (end.lost !== undefined) return { error: end.lost, again: true, lost: true };
  const ends = [...end.ends];
  const trained = calls.train && (ends.shift() ?? neverMade);
  if (trained !== undefined && trained.exitCode !== 0) return failureOf("train", trained);
  const manifest = job.kind === "run" ? finishedRun(places.run) : undefined;
  if (job.kind === "run" && manifest === undefined)
    return { error: `train ended without an error, but ${places.run} holds no finished run`, again: true };
  const scored = calls.score && (ends.shift() ?? neverMade);
  if (scored !== undefined && scored.exitCode !== 0) return failureOf("eval", scored);
  const scores = scored === undefined ? null : scoresOf(scored);
  if (scores !== null && "error" in scores) return scores;
  return { train: manifest === undefined ? null : figuresOf(manifest), scores };
};

export interface JobTry {
  readonly start: StartChildren;
  readonly signal: AbortSignal;
  /** Told when our program begins. */
  readonly onStart?: (() => void) | undefined;
}

/** One try at a job: trained (or gone on with, or found finished), then scored. */
export const tryJob = async (
  job: SweepJob,
  places: JobPlaces,
  { start, signal, onStart }: JobTry,
): Promise<JobOutcome> => {
  const calls = await callsOf(job, places, signal);
  const made = [calls.train, calls.score].filter((call) => call !== undefined);
  const end = made.length === 0 ? { ends: [] } : await start({ calls: made, folder: places.root, onStart });
  return outcomeOf(job, places, { calls, end });
};
