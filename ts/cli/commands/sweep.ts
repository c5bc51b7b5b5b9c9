import { join, resolve } from "node:path";
import { z } from "zod";
import { loadSweepSpec } from "../../client/load-sweep.js";
import { MiloraError } from "../../errors.js";
import type { SweepJobRecord, SweepRecord } from "../../runs/sweep-record.js";
import { parseWith } from "../../spec/parse.js";
import { readSweepRecord } from "../../sweep/book.js";
import { estimateSweep, tryRows, type SweepEstimate, type TrialEvent } from "../../sweep/estimate.js";
import { expandSweep, selectJobs, type SweepJob } from "../../sweep/expand.js";
import { jobPlaces } from "../../sweep/run-job.js";
import { formatDuration } from "../../util/duration.js";
import { createProgress, type Progress } from "../../util/progress.js";
import { printResult, table, type CommandContext } from "../output.js";
import { performSweep, recordsOf, sweepExitCode, type SweepWork } from "../sweep-runner.js";
import { ownProgram, rayOf, rayOption } from "../sweep-starter.js";

const optionsSchema = z.object({
  out: z.string().optional(),
  jobs: z.int().min(1).optional(),
  ray: rayOption,
  only: z.string().optional(),
  dryRun: z.boolean().default(false),
  trial: z.boolean().default(false),
});

/** A run as `--json` tells it. */
const runValue = (out: string, { id, name, kind, state, error }: SweepJobRecord) => {
  const places = jobPlaces(out, id);
  return { id, name, state, run: kind === "run" ? places.run : places.root, error };
};

const runTable = (records: readonly SweepJobRecord[]): readonly string[] =>
  table([["state", "name"], ...records.map(({ state, name }) => [state, name])]);

const gigabytes = (bytes: number | null): string => (bytes === null ? "not known" : `${(bytes / 1e9).toFixed(2)} GB`);

const estimateLines = (estimate: SweepEstimate, parallel: number): readonly string[] => {
  const { left, seconds, bytes, unknownSeconds, unknownBytes, source } = estimate;
  if (left === 0) return ["", "Nothing is left to do."];
  const time = seconds === null ? "not known" : `about ${formatDuration(seconds)}`;
  return [
    "",
    `Estimate for the ${left} jobs left, ${parallel} at once: time ${time}, disk at most ${gigabytes(bytes)}.`,
    ...(unknownSeconds > 0 && seconds !== null
      ? [`The time of ${unknownSeconds} job(s) is not known and not in it.`]
      : []),
    ...(unknownBytes > 0 && bytes !== null ? [`The disk of ${unknownBytes} run(s) is not known and not in it.`] : []),
    `An estimate from ${source}. Jobs at once share the cores, and are slower than one alone.`,
    ...(seconds === null ? ["--trial tries two steps of each row."] : []),
  ];
};

/** A trial of each row that needs one; one line for all, a line above it for each that failed. */
const tryAll = async (record: SweepRecord, jobs: readonly SweepJob[], signal: AbortSignal) => {
  let progress: Progress | undefined;
  const onTrial = ({ row, done, of, failure }: TrialEvent): void => {
    progress ??= createProgress({ stream: process.stderr, label: "trial", total: of });
    if (failure !== null) progress.note(`${row}: its trial failed: ${failure}`);
    progress.update(done, row);
  };
  try {
    return await tryRows({ record, jobs, start: ownProgram(1, signal), signal, onTrial });
  } finally {
    progress?.close();
  }
};

/** Prints the plan of a sweep, how its runs stand, and an estimate of what is left; writes nothing in its folder. */
export const printSweepPlan = async (
  context: CommandContext,
  { sweep, out, all, jobs, parallel = 1 }: SweepWork,
  { trial }: { readonly trial: boolean },
): Promise<void> => {
  const record = await readSweepRecord(out, sweep, all);
  const { signal } = context;
  const trials = trial ? await tryAll(record, jobs, signal) : undefined;
  const estimate = estimateSweep(record, jobs, { parallel, trials });
  const records = recordsOf(record, jobs);
  const runs = records.map((each) => runValue(out, each));
  printResult(context, { runs, estimate }, () => [...runTable(records), ...estimateLines(estimate, parallel)]);
};

const workOf = async (
  file: string,
  { out, only, jobs: parallel, ray }: z.output<typeof optionsSchema>,
): Promise<SweepWork> => {
  const sweep = await loadSweepSpec(file);
  const all = expandSweep(sweep);
  const jobs: readonly SweepJob[] = only === undefined ? all : selectJobs(all, only);
  if (jobs.length === 0)
    throw new MiloraError("input/unknown-name", `No run's name contains "${only ?? ""}".`, {
      found: only,
      hint: "milora sweep … --dry-run lists the names.",
    });
  const folder = resolve(out ?? join("sweeps", sweep.name.replaceAll(/[^\w.-]+/g, "-")));
  return { sweep, out: folder, all, jobs, parallel, ray: rayOf(ray, sweep.ray) };
};

/** `milora sweep <spec>`: every run of a sweep, each in a process of its own; what is finished is never done again. */
export const sweepCommand = async (context: CommandContext, raw: object, file: string): Promise<number> => {
  const options = parseWith(optionsSchema, raw, { what: "The command" });
  const work = await workOf(file, options);
  if (options.dryRun) {
    await printSweepPlan(context, work, options);
    return 0;
  }
  const { record } = await performSweep(work, context.signal);
  const records = recordsOf(record, work.jobs);
  const runs = records.map((each) => runValue(work.out, each));
  printResult(context, { runs }, () => runTable(records));
  return sweepExitCode(records, context.signal);
};
