import { availableParallelism } from "node:os";
import { join, resolve } from "node:path";
import { z } from "zod";
import { loadSweepSpec } from "../../client/load-sweep.js";
import { MiloraError } from "../../errors.js";
import { plannedJobs } from "../../report/sweep-table.js";
import { writeSweepReport } from "../../report/sweep-report.js";
import type { SweepJobRecord, SweepRecord } from "../../runs/sweep-record.js";
import { parseWith } from "../../spec/parse.js";
import { openSweepBook, readSweepRecord, type SweepBook } from "../../sweep/book.js";
import { childStarter } from "../../sweep/child.js";
import { expandSweep, selectJobs, type SweepJob } from "../../sweep/expand.js";
import { readJobResults } from "../../sweep/job-results.js";
import { jobPlaces } from "../../sweep/run-job.js";
import { runSweep } from "../../sweep/run-sweep.js";
import { createProgress } from "../../util/progress.js";
import { percent, printResult, table, tell, type CommandContext } from "../output.js";

const optionsSchema = z.object({
  out: z.string().optional(),
  jobs: z.int().min(1),
  only: z.string().optional(),
  dryRun: z.boolean().default(false),
});

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

/** Children of a sweep that runs several at once share the cores, unless the user said how many threads. */
const childEnvironment = (parallel: number): Readonly<Record<string, string>> =>
  parallel === 1 || process.env["OMP_NUM_THREADS"] !== undefined
    ? {}
    : { OMP_NUM_THREADS: String(Math.max(1, Math.floor(availableParallelism() / parallel))) };

const execute = async (
  { out, book, jobs, parallel }: { out: string; book: SweepBook; jobs: readonly SweepJob[]; parallel: number },
  signal: AbortSignal,
): Promise<void> => {
  const main = process.argv[1];
  if (main === undefined) throw new MiloraError("internal", "The program's own file is not known.");
  const program = [process.execPath, ...process.execArgv, main] as const;
  const start = childStarter({ program, signal, env: childEnvironment(parallel) });
  const progress = sweepProgress(jobs, book);
  try {
    await runSweep({ out, jobs, book, start, parallel, signal, onChange: progress.onChange });
  } finally {
    progress.close();
  }
};

const printRuns = (context: CommandContext, out: string, jobs: readonly SweepJobRecord[]): void => {
  const runs = jobs.map(({ id, name, kind, state, error }) => {
    const places = jobPlaces(out, id);
    return { id, name, state, run: kind === "run" ? places.run : places.root, error };
  });
  printResult(context, { runs }, () => table([["state", "name"], ...runs.map(({ state, name }) => [state, name])]));
};

const recordedIn = (record: SweepRecord, jobs: readonly SweepJob[]): readonly SweepJobRecord[] => {
  const ids = new Set(jobs.map(({ id }) => id));
  return plannedJobs(record).filter(({ id }) => ids.has(id));
};

/** `milora sweep <spec>`: every run of a sweep, each in a process of its own; what is finished is never done again. */
export const sweepCommand = async (context: CommandContext, raw: object, file: string): Promise<number> => {
  const options = parseWith(optionsSchema, raw, { what: "The options" });
  const sweep = await loadSweepSpec(file);
  const all = expandSweep(sweep);
  const jobs = options.only === undefined ? all : selectJobs(all, options.only);
  if (jobs.length === 0)
    throw new MiloraError("input/unknown-name", `No run's name contains "${options.only ?? ""}".`, {
      found: options.only,
      hint: "milora sweep … --dry-run lists the names.",
    });
  const out = resolve(options.out ?? join("sweeps", sweep.name.replaceAll(/[^\w.-]+/g, "-")));
  if (options.dryRun) {
    printRuns(context, out, recordedIn(await readSweepRecord(out, sweep, all), jobs));
    return 0;
  }
  const book = await openSweepBook(out, sweep, all);
  try {
    await execute({ out, book, jobs, parallel: options.jobs }, context.signal);
    const record = book.record();
    const report = await writeSweepReport(out, record, await readJobResults(out, plannedJobs(record)));
    const records = recordedIn(record, jobs);
    tell(`table ${report}`);
    printRuns(context, out, records);
    if (context.signal.aborted) return 130;
    return records.every(({ state }) => state === "finished") ? 0 : 1;
  } finally {
    book.close();
  }
};
