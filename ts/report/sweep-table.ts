import type { ScoreFigures, SweepJobRecord, SweepRecord } from "../runs/sweep-record.js";
import { median } from "../util/statistics.js";
import { pairedRows, type JobResults, type PairedRow } from "./sweep-paired.js";

type Range = readonly [number, number];

/** How a row's results lie to something else's; ranges that touch are no difference. */
export type Comparison = "better" | "worse" | "inside the spread" | "unknown";

/** One method's results on one task: a row of the table. */
export interface SweepRow {
  readonly row: string;
  readonly trainable: number | null;
  readonly activated: { readonly min: number; readonly mean: number; readonly max: number } | null;
  /** Of the untuned model. */
  readonly before: number | null;
  readonly after: readonly { readonly seed: number; readonly value: number }[];
  readonly median: number | null;
  /** Lowest and highest over the seeds. */
  readonly spread: Range | null;
  /** What decides comparisons: the spread of two seeds or more, Wilson's 95 % interval of one accuracy. */
  readonly range: Range | null;
  /** By the ranges and, where known, row by row. */
  readonly againstBefore: Comparison;
  /** Against the row with the best median, by the ranges and, where known, row by row; null for that row itself. */
  readonly againstBest: Comparison | null;
  /** Against the table's reference, row by row; null for the reference itself and where rows are not known. */
  readonly paired: PairedRow | null;
  /** Medians over the seeds. */
  readonly trainTokensPerSecond: number | null;
  readonly decodeTokensPerSecond: number | null;
  /** Runs of the row that have no result. */
  readonly missing: number;
}

/** One group on one task, or by dev perplexity where it is not scored. */
export interface SweepTable {
  readonly group: string;
  readonly task: string | null;
  readonly measure: "accuracy" | "dev perplexity";
  /** All that decides the score; several where runs were scored in several ways. */
  readonly protocols: readonly string[];
  readonly chance: number | null;
  readonly majority: number | null;
  /** The row that the others are compared with, row by row. */
  readonly reference: string | null;
  readonly rows: readonly SweepRow[];
}

interface Measured {
  readonly job: SweepJobRecord;
  readonly value: number | undefined;
  readonly score: ScoreFigures | undefined;
}

const distinct = <Item>(items: readonly Item[]): readonly Item[] => [...new Set(items)];

const medianOrNull = (values: readonly (number | null | undefined)[]): number | null => {
  const present = values.filter((value) => typeof value === "number");
  return present.length === 0 ? null : median(present);
};

const scoreOf = (job: SweepJobRecord | undefined, task: string | null): ScoreFigures | undefined =>
  job?.scores?.find((score) => score.task === task);

const measured = (job: SweepJobRecord, task: string | null): Measured => {
  const score = scoreOf(job, task);
  const value = (task === null ? job.train?.best?.devPerplexity : score?.accuracy) ?? undefined;
  return { job, value: job.state === "finished" ? value : undefined, score };
};

/** Whether `range` lies wholly on one side of `other`; with a lower-is-better measure the sides change places. */
const compare = (range: Range | null, other: Range | null, higherIsBetter: boolean): Comparison => {
  if (range === null || other === null) return "unknown";
  if (range[0] > other[1]) return higherIsBetter ? "better" : "worse";
  if (range[1] < other[0]) return higherIsBetter ? "worse" : "better";
  return "inside the spread";
};

const spreadOf = (values: readonly number[]): Range | null =>
  values.length === 0 ? null : [Math.min(...values), Math.max(...values)];

/** One seed has no spread: of an accuracy the interval of its rows stands in, of a perplexity nothing does. */
const rangeOf = (values: readonly number[], first: ScoreFigures | undefined): Range | null =>
  values.length > 1 ? spreadOf(values) : values.length === 1 ? (first?.interval ?? null) : null;

const beforeRange = (before: ScoreFigures | undefined, seeds: number): Range | null => {
  if (before === undefined || before.accuracy === null) return null;
  return seeds > 1 ? [before.accuracy, before.accuracy] : before.interval;
};

const rowOf = (jobs: readonly SweepJobRecord[], task: string | null, before: ScoreFigures | undefined): SweepRow => {
  const results = jobs.map((job) => measured(job, task));
  const present = results.filter(({ value }) => value !== undefined);
  const after = present
    .map(({ job, value = Number.NaN }) => ({ seed: job.seed ?? 0, value }))
    .toSorted((left, right) => left.seed - right.seed);
  const values = after.map(({ value }) => value);
  const range = rangeOf(values, present[0]?.score);
  const parameters = jobs.find(({ train }) => train?.parameters !== undefined)?.train?.parameters;
  return {
    row: jobs[0]?.row ?? "",
    trainable: parameters?.trainable ?? null,
    activated: parameters?.activated ?? null,
    before: before?.accuracy ?? null,
    after,
    median: medianOrNull(values),
    spread: spreadOf(values),
    range,
    againstBefore: compare(range, beforeRange(before, values.length), true),
    againstBest: null,
    paired: null,
    trainTokensPerSecond: medianOrNull(present.map(({ job }) => job.train?.tokensPerSecond)),
    decodeTokensPerSecond: medianOrNull(present.map(({ score }) => score?.tokensPerSecond)),
    missing: jobs.length - present.length,
  };
};

/** The row with the best median, the first of equals. */
const bestRow = (rows: readonly SweepRow[], higherIsBetter: boolean): SweepRow | undefined => {
  const sign = higherIsBetter ? 1 : -1;
  return rows
    .filter((row) => row.median !== null)
    .toSorted((left, right) => sign * ((right.median ?? 0) - (left.median ?? 0)))[0];
};

/** Seeds whose ranges do not touch may still differ by few answers: both tests have to say so. */
const unlessNoise = (comparison: Comparison, paired: PairedRow | null | undefined): Comparison =>
  comparison !== "unknown" && paired?.verdict === "inside the noise" ? "inside the spread" : comparison;

/** Adds how the rows lie to the untuned model and to the best of them; `pairedWith` compares all of them row by row. */
const withComparisons = (
  rows: readonly SweepRow[],
  higherIsBetter: boolean,
  pairedWith: (name: string | null) => readonly (PairedRow | null)[],
): readonly SweepRow[] => {
  const best = bestRow(rows, higherIsBetter);
  const [before, beside] = [pairedWith(null), best === undefined ? [] : pairedWith(best.row)];
  return rows.map((row, index) => ({
    ...row,
    againstBefore: unlessNoise(row.againstBefore, before[index]),
    againstBest:
      row === best ? null : unlessNoise(compare(row.range, best?.range ?? null, higherIsBetter), beside[index]),
  }));
};

interface TableSource {
  readonly jobs: readonly SweepJobRecord[];
  readonly reference: string | null;
  readonly results: JobResults;
}

const tableOf = (group: string, task: string | null, { jobs, results, ...source }: TableSource): SweepTable => {
  const runs = jobs.filter((job) => job.kind === "run" && job.group === group);
  const beforeOf = (run: SweepJobRecord | undefined) =>
    scoreOf(
      jobs.find(({ id }) => id === run?.before),
      task,
    );
  const names = distinct(runs.map(({ row }) => row));
  const reference = names.find((name) => name === source.reference) ?? names[0] ?? null;
  /** Against a row; null: against the untuned model. */
  const pairedWith = (name: string | null): readonly (PairedRow | null)[] => {
    if (task === null) return [];
    const beside = (job: SweepJobRecord): SweepJobRecord | undefined =>
      name === null
        ? jobs.find(({ id }) => id === job.before)
        : runs.find(({ row, seed }) => row === name && seed === job.seed);
    return pairedRows({ rows: names, jobs: runs, task, reference: { name: name ?? "before", beside }, results });
  };
  const paired = reference === null ? [] : pairedWith(reference);
  const rows = names.map((name, index) => {
    const ofRow = runs.filter(({ row }) => row === name);
    return { ...rowOf(ofRow, task, beforeOf(ofRow[0])), paired: paired[index] ?? null };
  });
  const scores = runs.flatMap((run) => [beforeOf(run), scoreOf(run, task)]).filter((score) => score !== undefined);
  return {
    group,
    task,
    measure: task === null ? "dev perplexity" : "accuracy",
    protocols: distinct(scores.map(({ protocol }) => protocol)),
    chance: scores[0]?.chance ?? null,
    majority: scores[0]?.majority ?? null,
    reference: task === null ? null : reference,
    rows: withComparisons(rows, task !== null, pairedWith),
  };
};

/** The jobs that a sweep's spec names now, in its order. */
export const plannedJobs = ({ plan, jobs }: SweepRecord): readonly SweepJobRecord[] =>
  plan.flatMap((id) => jobs.filter((job) => job.id === id));

/** The tables of a sweep: one a group and task. `results`: what its runs answered row by row, for paired comparisons. */
export const sweepTables = (record: SweepRecord, results: JobResults = new Map()): readonly SweepTable[] => {
  const jobs = plannedJobs(record);
  return distinct(jobs.map(({ group }) => group)).flatMap((group) => {
    const tasks = distinct(jobs.filter((job) => job.group === group).flatMap((job) => job.tasks));
    return (tasks.length === 0 ? [null] : tasks).map((task) =>
      tableOf(group, task, { jobs, results, reference: record.reference }),
    );
  });
};
