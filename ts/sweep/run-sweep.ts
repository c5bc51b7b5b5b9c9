import type { SweepJobRecord } from "../runs/sweep-record.js";
import type { SweepBook } from "./book.js";
import type { StartChildren } from "./child.js";
import type { SweepJob } from "./expand.js";
import { thisMachine } from "./machine.js";
import { type JobOutcome, jobPlaces, type JobTry, tryJob } from "./run-job.js";

export interface RunSweepOptions {
  readonly out: string;
  /** The jobs to do; finished ones are passed over. */
  readonly jobs: readonly SweepJob[];
  readonly book: SweepBook;
  readonly start: StartChildren;
  /** Jobs at once. */
  readonly parallel: number;
  /** Aborted: nothing more is started; what runs is left to end by itself. */
  readonly signal: AbortSignal;
  /** Told when a job begins, when it ends, and when it is to be tried again. */
  readonly onChange?: ((job: SweepJobRecord) => void) | undefined;
}

/** A job that fails so often by itself fails; so does one whose machine went so often, for it may be the reason. */
const crashesAllowed = 1;
const lossesAllowed = 5;

/** What a try throws (a full disk, a broken record) fails its job and no other. */
const tried = async (job: SweepJob, out: string, how: JobTry): Promise<JobOutcome> => {
  try {
    return await tryJob(job, jobPlaces(out, job.id), how);
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error), again: false };
  }
};

/** A try that has been made. */
interface Attempt {
  readonly outcome: JobOutcome;
  /** Without what it waited for its turn; null where it never began. */
  readonly seconds: number | null;
  readonly machine: SweepJobRecord["machine"];
}

const attempt = async (job: SweepJob, options: RunSweepOptions): Promise<Attempt> => {
  const { out, book, signal, onChange } = options;
  let machine = thisMachine();
  let startedAt: number | undefined;
  let begun: Promise<void> | undefined;
  const begin = async (): Promise<void> => {
    startedAt = performance.now();
    await book.update(job.id, { state: "running", attempts: book.job(job.id).attempts + 1, error: null });
    onChange?.(book.job(job.id));
  };
  const onStart = (): void => {
    begun ??= begin();
    begun.catch(() => undefined);
  };
  const start: StartChildren = async (work) => {
    const end = await options.start(work);
    machine = end.machine ?? machine;
    return end;
  };
  const outcome = await tried(job, out, { start, signal, onStart });
  // One without a call of our program, or that failed before, has begun all the same.
  if (!signal.aborted || !("error" in outcome)) onStart();
  await begun;
  return { outcome, machine, seconds: startedAt === undefined ? null : (performance.now() - startedAt) / 1000 };
};

type Verdict = "finished" | "stopped" | "failed" | "again";

const changeOf = ({ outcome, machine }: Attempt, verdict: Verdict): Partial<SweepJobRecord> => {
  if (!("error" in outcome)) {
    const { train, scores } = outcome;
    const finished = new Date().toISOString();
    return { state: "finished", error: null, finished, machine, train, scores: scores && [...scores] };
  }
  if (verdict === "stopped") return { state: "stopped", error: null };
  return { state: verdict === "again" ? "waiting" : "failed", error: outcome.error };
};

const runJob = async (job: SweepJob, options: RunSweepOptions): Promise<void> => {
  const { book, signal, onChange } = options;
  let [crashes, losses] = [0, 0];
  const verdictOf = (outcome: JobOutcome): Verdict => {
    if (!("error" in outcome)) return "finished";
    if (signal.aborted) return "stopped";
    if (outcome.lost === true) losses += 1;
    else crashes += 1;
    return outcome.again && crashes <= crashesAllowed && losses <= lossesAllowed ? "again" : "failed";
  };
  let verdict: Verdict = "again";
  while (verdict === "again") {
    const made = await attempt(job, options);
    verdict = verdictOf(made.outcome);
    // One that waited for its turn when the sweep was stopped stays as it was.
    if (made.seconds === null) return;
    const seconds = (book.job(job.id).seconds ?? 0) + made.seconds;
    await book.update(job.id, { ...changeOf(made, verdict), seconds });
    onChange?.(book.job(job.id));
  }
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
