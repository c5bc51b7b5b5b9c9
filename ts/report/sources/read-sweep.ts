import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { sweepRecordSchema, type SweepJobRecord, type SweepRecord } from "../../runs/sweep-record.js";
import { parseWith } from "../../spec/parse.js";
import { readJsonFile } from "../../util/files.js";
import { noInputs, type ReportInputs, type RunInput } from "./inputs.js";
import type { ProblemList } from "./problems.js";
import { readRun } from "./read-run.js";

const runOf = (out: string, id: string): string => join(out, "runs", id, "run");

const readJob = async (out: string, job: SweepJobRecord, problems: ProblemList): Promise<RunInput | undefined> => {
  const place = runOf(out, job.id);
  if (existsSync(place)) return readRun(place, problems, job.name);
  if (job.state === "finished")
    problems.add(place, "The run's folder is gone; what the sweep's record says of it is shown, its curves are not.");
  return undefined;
};

/** A broken record hides no run: each is shown by itself. */
const looseRuns = async (out: string, problems: ProblemList): Promise<readonly RunInput[]> => {
  const folder = join(out, "runs");
  const names = existsSync(folder) ? (await readdir(folder)).toSorted() : [];
  const runs: RunInput[] = [];
  for (const name of names) {
    const place = runOf(out, name);
    if (existsSync(place)) runs.push(await readRun(place, problems, name));
  }
  return runs;
};

const readRecord = async (file: string): Promise<SweepRecord> =>
  parseWith(sweepRecordSchema, await readJsonFile(file, "the sweep's record"), {
    what: "The record of the sweep",
    file,
  });

/** Reads what can be read of a sweep's folder; the rest is noted. */
export const readSweep = async (out: string, problems: ProblemList): Promise<ReportInputs> => {
  const file = join(out, "sweep.json");
  const record = await problems.attempt(file, () => readRecord(file));
  if (record === undefined) return { ...noInputs, runs: await looseRuns(out, problems) };
  const runs = new Map<string, RunInput>();
  for (const job of record.jobs.filter(({ id, kind }) => kind === "run" && record.plan.includes(id))) {
    const run = await readJob(out, job, problems);
    if (run !== undefined) runs.set(job.id, run);
  }
  return { ...noInputs, sweeps: [{ record, runs }] };
};
