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

const readScore = async (results: string, score: ScoreFigures): Promise<readonly StoredResult[]> => {
  const file = join(results, `${resultName(score)}.json`);
  if (!existsSync(file)) return [];
  try {
    const read = await readResults(file);
    // An adapter may have been scored again by hand: only what the sweep's own score came from is its result.
    return read.filter((of) => of.protocol === score.protocol && of.accuracy === score.accuracy).map(shortened);
  } catch (error) {
    if (MiloraError.isInstance(error)) return [];
    throw error;
  }
};

/** What the runs of a sweep answered row by row, by job; nothing of a job whose files are gone, broken or others. */
export const readJobResults = async (
  out: string,
  jobs: readonly SweepJobRecord[],
): Promise<ReadonlyMap<string, readonly StoredResult[]>> => {
  const results = new Map<string, readonly StoredResult[]>();
  for (const { id, kind, state, scores } of jobs) {
    if (kind !== "run" || state !== "finished") continue;
    const folder = runFolder(jobPlaces(out, id).run).results;
    const read: StoredResult[] = [];
    for (const score of scores ?? []) read.push(...(await readScore(folder, score)));
    results.set(id, read);
  }
  return results;
};
