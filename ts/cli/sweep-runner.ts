import { writeSweepReport } from "../report/sweep-report.js";
import { plannedJobs } from "../report/sweep-table.js";
import type { JobResults } from "../report/sweep-paired.js";
import type { SweepJobRecord, SweepRecord } from "../runs/sweep-record.js";
import type { SweepRay } from "../spec/ray.js";
import type { SweepSpec } from "../spec/sweep.js";
import { openSweepBook, type SweepBook } from "../sweep/book.js";
import type { SweepJob } from "../sweep/expand.js";
import { readJobResults } from "../sweep/job-results.js";
import { runSweep } from "../sweep/run-sweep.js";
import { createProgress } from "../util/progress.js";
import { percent, tell } from "./output.js";
import { openStarter } from "./sweep-starter.js";

/** A sweep to be run. */
export interface SweepWork {
  readonly sweep: SweepSpec;
  /** The sweep's folder. */
  readonly out: string;
  /** All jobs of the spec. */
  readonly all: readonly SweepJob[];
  /** Those to do now. */
  readonly jobs: readonly SweepJob[];
  /** Jobs at once; by default one, and on Ray as many as it has room for. */
  readonly parallel: number | undefined;
  /** The Ray whose tasks the jobs are; without it they are processes of this machine. */
  readonly ray: SweepRay | undefined;
}

/** What a sweep came to. */
export interface SweepOutcome {
  readonly record: SweepRecord;
  readonly results: JobResults;
  /** The Markdown file of its tables. */
  readonly report: string;
}

/** How a job ended, with its result. */
const noted = ({ name, state, error, scores, train }: SweepJobRecord): string => {
  const accuracies = (scores ?? []).map(({ task, accuracy }) => `${task} ${percent(accuracy)}`);
  const best = train === null || train.best === null ? [] : [`dev perplexity ${train.best.devPerplexity.toFixed(4)}`];
  const reason = error === null ? "" : `\n  ${error.replaceAll("\n", "\n  ")}`;
  return `${[`${name}: ${state}`, ...accuracies, ...best].join(" · ")}${reason}`;
};

/** One line for the whole sweep, redrawn each second on a terminal; a line above it for each job that ends. */
const sweepProgress = (jobs: readonly SweepJob[], book: SweepBook) => {
  const count = (): number => jobs.filter(({ id }) => ["finished", "failed"].includes(book.job(id).state)).length;
  const start = jobs.filter(({ id }) => book.job(id).state === "finished").length;
  const progress = createProgress({ stream: process.stderr, label: "sweep", total: jobs.length, start });
  const draw = (): void => {
    const running = jobs.filter(({ id }) => book.job(id).state === "running").map(({ name }) => name);
    progress.update(count(), running.join(", "));
  };
  const timer = process.stderr.isTTY ? setInterval(draw, 1000) : undefined;
  return {
    onChange: (job: SweepJobRecord): void => {
      if (job.state !== "running") progress.note(noted(job));
      draw();
    },
    close: (): void => {
      clearInterval(timer);
      progress.close();
    },
  };
};

const execute = async (work: SweepWork, book: SweepBook, signal: AbortSignal): Promise<void> => {
  const { out, jobs, ray } = work;
  const parallel = work.parallel ?? (ray === undefined ? 1 : jobs.length);
  const starter = await openStarter({ parallel, ray, signal });
  const progress = sweepProgress(jobs, book);
  try {
    await runSweep({ out, jobs, book, ...starter, parallel, onChange: progress.onChange });
  } finally {
    progress.close();
    await starter.close();
  }
};

/** Runs what is not finished of a sweep, then writes its tables. */
export const performSweep = async (work: SweepWork, signal: AbortSignal): Promise<SweepOutcome> => {
  const { sweep, out, all } = work;
  const book = await openSweepBook(out, sweep, all);
  try {
    await execute(work, book, signal);
    const record = book.record();
    const { results, problems } = await readJobResults(out, plannedJobs(record));
    problems.forEach(tell);
    const report = await writeSweepReport(out, record, results);
    tell(`table ${report}`);
    return { record, results, report };
  } finally {
    book.close();
  }
};

/** The records of these jobs, in the sweep's order. */
export const recordsOf = (record: SweepRecord, jobs: readonly SweepJob[]): readonly SweepJobRecord[] => {
  const ids = new Set(jobs.map(({ id }) => id));
  return plannedJobs(record).filter(({ id }) => ids.has(id));
};

/** The exit code of a sweep: 130 where it was interrupted, 0 where every job is finished. */
export const sweepExitCode = (records: readonly SweepJobRecord[], signal: AbortSignal): number => {
  if (signal.aborted) return 130;
  return records.every(({ state }) => state === "finished") ? 0 : 1;
};
