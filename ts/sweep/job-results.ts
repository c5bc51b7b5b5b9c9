import { existsSync } from "node:fs";
import { join } from "node:path";
import { MiloraError } from "../errors.js";
import { runFolder } from "../runs/run-folder.js";
import { readResults, resultName, type StoredResult } from "../runs/stored-results.js";
import type { ScoreFigures, SweepJobRecord } from "../runs/sweep-record.js";
import { shortHash } from "../util/records.js";
import { jobPlaces } from "./run-job.js";

/** Prompts are only compared, and a sweep has many: their checksums do. */
const shortened = (result: StoredResult): StoredResult => ({
  ...result,
  rows: result.rows.map((row) => ({ ...row, prompt: shortHash(row.prompt) })),
});

interface ReadScore {
  readonly results: readonly StoredResult[];
  /** Why there are none. */
  readonly problem?: string | undefined;
}

const readScore = async (file: string, score: ScoreFigures): Promise<ReadScore> => {
  if (!existsSync(file)) return { results: [], problem: `${file} is gone` };
  try {
    const read = await readResults(file);
    // An adapter may have been scored again by hand: only what the sweep's own score came from is its result.
    const own = read.filter(
      ({ task, protocol, accuracy }) =>
        task === score.task && protocol === score.protocol && accuracy === score.accuracy,
    );
    const problem = own.length === 0 ? `${file} no longer holds the sweep's score` : undefined;
    return { results: own.map(shortened), problem };
  } catch (error) {
    if (MiloraError.isInstance(error)) return { results: [], problem: error.message };
    throw error;
  }
};

/** What the jobs of a sweep answered row by row. */
export interface JobAnswers {
  /** By job; nothing of a job whose files are gone, broken or others. */
  readonly results: ReadonlyMap<string, readonly StoredResult[]>;
  /** What could not be read and why, a line each; the tables hold its score, the paired comparisons do not. */
  readonly problems: readonly string[];
}

/** Reads what the finished jobs of a sweep answered, runs and untuned models, from their own result files. */
export const readJobResults = async (out: string, jobs: readonly SweepJobRecord[]): Promise<JobAnswers> => {
  const results = new Map<string, readonly StoredResult[]>();
  const problems: string[] = [];
  for (const { id, name, kind, state, scores } of jobs) {
    if (state !== "finished") continue;
    const { run, outputs } = jobPlaces(out, id);
    const { results: folder } = runFolder(run);
    const read: StoredResult[] = [];
    for (const score of scores ?? []) {
      const file = kind === "run" ? join(folder, `${resultName(score)}.json`) : outputs;
      const { results: own, problem } = await readScore(file, score);
      read.push(...own);
      if (problem !== undefined) problems.push(`${name}, left out of the comparison row by row: ${problem}`);
    }
    results.set(id, read);
  }
  return { results, problems };
};
