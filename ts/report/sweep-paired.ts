import type { SweepJobRecord } from "../runs/sweep-record.js";
import { holmAdjusted, signFlipTest, type PairedCounts, type PairedTest } from "../util/paired.js";
import {
  compareResults,
  resultDifferences,
  verdictOf,
  type ComparableResult,
  type Verdict,
} from "./compare-results.js";

/** What jobs answered row by row, by job. */
export type JobResults = ReadonlyMap<string, readonly ComparableResult[]>;

/** One seed: the reference first, the method second; `p` and `midP` are McNemar's. */
export interface PairedSeed extends PairedCounts, PairedTest {
  readonly seed: number;
  /** The method's accuracy minus the reference's. */
  readonly difference: number;
  /** Newcombe's 95 % interval of the difference. */
  readonly interval: readonly [number, number];
}

/**
 * A method against the reference, on the same rows and seeds. `p` and `midP`: the sign-flip test on each row's sum over
 * the seeds, so that a question counts once however many seeds answered it.
 */
export interface PairedRow extends PairedTest {
  readonly reference: string;
  readonly seeds: readonly PairedSeed[];
  /** Mean over the seeds. */
  readonly difference: number;
  /** Lowest and highest over the seeds. */
  readonly spread: readonly [number, number];
  /** Answers that only one of the two got right, summed over the seeds. */
  readonly onlyReference: number;
  readonly onlyMethod: number;
  /** `p` after Holm, for all methods of the table together. */
  readonly adjustedP: number;
  /** By `adjustedP` at 5 %, and only where every seed says the same. */
  readonly verdict: Verdict;
}

interface SeedPair {
  readonly seed: number;
  readonly reference: ComparableResult;
  readonly method: ComparableResult;
}

type Unadjusted = Omit<PairedRow, "adjustedP" | "verdict">;

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

const resultOf = (results: JobResults, job: SweepJobRecord | undefined, task: string): ComparableResult | undefined =>
  results.get(job?.id ?? "")?.find((result) => result.task === task && result.accuracy !== null);

/** What the rows of a table are compared with. */
export interface PairedReference {
  readonly name: string;
  /** The job whose answers stand beside those of a row's job. */
  readonly beside: (job: SweepJobRecord) => SweepJobRecord | undefined;
}

/** The seeds that both have answered in the same way, each once. */
const seedPairs = (
  { method, reference }: { readonly method: readonly SweepJobRecord[]; readonly reference: PairedReference },
  task: string,
  results: JobResults,
): readonly SeedPair[] => {
  const pairs = method.flatMap((job) => {
    const [one, other] = [resultOf(results, reference.beside(job), task), resultOf(results, job, task)];
    return one === undefined || other === undefined ? [] : [{ seed: job.seed ?? 0, reference: one, method: other }];
  });
  const [first] = pairs;
  if (first === undefined) return [];
  return pairs
    .filter((pair) => [pair.reference, pair.method].every((of) => resultDifferences(first.reference, of).length === 0))
    .toSorted((left, right) => left.seed - right.seed);
};

/** Of each row, in how many seeds only the method was right, less those in which only the reference was. */
const rowDifferences = (pairs: readonly SeedPair[]): readonly number[] => {
  const differences = new Map<number, number>();
  const add = (result: ComparableResult, sign: number): void => {
    for (const { index, correct } of result.rows)
      differences.set(index, (differences.get(index) ?? 0) + (correct ? sign : 0));
  };
  for (const { reference, method } of pairs) {
    add(reference, -1);
    add(method, 1);
  }
  return [...differences.values()];
};

const pairedSeed = ({ seed, reference, method }: SeedPair): PairedSeed => {
  const { both, onlyFirst, onlySecond, neither, difference, interval, p, midP } = compareResults(reference, method);
  return { seed, both, onlyFirst, onlySecond, neither, difference, interval, p, midP };
};

const unadjusted = (reference: string, pairs: readonly SeedPair[]): Unadjusted | null => {
  if (pairs.length === 0) return null;
  const seeds = pairs.map(pairedSeed);
  const differences = seeds.map(({ difference }) => difference);
  return {
    reference,
    seeds,
    difference: sum(differences) / differences.length,
    spread: [Math.min(...differences), Math.max(...differences)],
    onlyReference: sum(seeds.map(({ onlyFirst }) => onlyFirst)),
    onlyMethod: sum(seeds.map(({ onlySecond }) => onlySecond)),
    ...signFlipTest(rowDifferences(pairs)),
  };
};

const judged = (row: Unadjusted, adjustedP: number): PairedRow => {
  const agree = row.seeds.every(({ difference }) => difference * row.difference > 0);
  return { ...row, adjustedP, verdict: agree ? verdictOf(row.difference, adjustedP) : "inside the noise" };
};

/** Each row of a table against the reference; null for the reference itself and where no seed can be compared. */
export const pairedRows = (options: {
  readonly rows: readonly string[];
  readonly jobs: readonly SweepJobRecord[];
  readonly task: string;
  readonly reference: PairedReference;
  readonly results: JobResults;
}): readonly (PairedRow | null)[] => {
  const { rows, jobs, task, reference, results } = options;
  const jobsOf = (name: string): readonly SweepJobRecord[] => jobs.filter(({ row }) => row === name);
  const compared = rows.map((name) =>
    name === reference.name
      ? null
      : unadjusted(reference.name, seedPairs({ method: jobsOf(name), reference }, task, results)),
  );
  const adjusted = [...holmAdjusted(compared.flatMap((row) => (row === null ? [] : [row.p])))];
  return compared.map((row) => (row === null ? null : judged(row, adjusted.shift() ?? 1)));
};
