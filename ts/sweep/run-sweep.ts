import { availableParallelism, cpus } from "node:os";
import type { Machine, SweepJobRecord } from "../runs/sweep-record.js";
import type { SweepBook } from "./book.js";
import type { StartChild } from "./child.js";
import type { SweepJob } from "./expand.js";
import { type JobOutcome, type JobPlaces, jobPlaces, tryJob } from "./run-job.js";

export interface RunSweepOptions {
  readonly out: string;
  /** The jobs to do; finished ones are passed over. */
  readonly jobs: readonly SweepJob[];
  readonly book: SweepBook;
  readonly start: StartChild;
  /** Jobs at once. */
  readonly parallel: number;
  /** Aborted: nothing more is started; what runs is left to end by itself. */
  readonly signal: AbortSignal;
  /** Told when a job begins and when it ends. */
  readonly onChange?: ((job: SweepJobRecord) => void) | undefined;
}

const thisMachine = (): Machine => ({
  cores: availableParallelism(),
  processor: cpus()[0]?.model.trim() ?? "unknown",
  platform: `${process.platform}-${process.arch}`,
  node: process.versions.node,
});

/** What a try throws (a full disk, a broken record) fails its job and no other. */
const tried = async (job: SweepJob, places: JobPlaces, start: StartChild): Promise<JobOutcome> => {
  try {
    return await tryJob(job, places, start);
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error), again: false };
  }
};

const changeOf = (outcome: JobOutcome, interrupted: boolean): Partial<SweepJobRecord> => {
  if (!("error" in outcome)) {
    const { train, scores } = outcome;
    const finished = new Date().toISOString();
    return { state: "finished", error: null, finished, machine: thisMachine(), train, scores: scores && [...scores] };
  }
  return interrupted ? { state: "stopped", error: null } : { state: "failed", error: outcome.error };
};

const runJob = async (job: SweepJob, { out, book, start, signal, onChange }: RunSweepOptions): Promise<void> => {
  const places = jobPlaces(out, job.id);
  for (let attempt = 1; attempt <= 2; attempt += 1) {
    await book.update(job.id, { state: "running", attempts: book.job(job.id).attempts + 1, error: null });
    onChange?.(book.job(job.id));
    const startedAt = performance.now();
    const outcome = await tried(job, places, start);
    const seconds = (book.job(job.id).seconds ?? 0) + (performance.now() - startedAt) / 1000;
    await book.update(job.id, { ...changeOf(outcome, signal.aborted), seconds });
    if (!("error" in outcome) || !outcome.again || signal.aborted) break;
  }
  onChange?.(book.job(job.id));
};

/** Does the jobs that are not finished, `parallel` at a time; a job that fails twice does not stop the others. */
export const runSweep = async (options: RunSweepOptions): Promise<void> => {
  const { jobs, book, signal, parallel } = options;
  const queue = jobs.filter(({ id }) => book.job(id).state !== "finished");
  const work = async (): Promise<void> => {
    while (!signal.aborted) {
      const job = queue.shift();
      if (job === undefined) return;
      await runJob(job, options);
    }
  };
  await Promise.all(Array.from({ length: parallel }, work));
};
