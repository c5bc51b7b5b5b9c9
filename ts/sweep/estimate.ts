import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import type { SweepJobRecord, SweepRecord } from "../runs/sweep-record.js";
import { writeFileAtomic } from "../util/files.js";
import { median } from "../util/statistics.js";
import type { StartChildren } from "./child.js";
import type { SweepJob } from "./expand.js";

/** What a trial says of a run: `milora train --dry-run`. */
export interface RunTrial {
  /** Seconds of the steps and evaluations, without saves. */
  readonly seconds: number;
  /** Bytes of a checkpoint. */
  readonly checkpoint: number;
}

/** What is left of a sweep, estimated. */
export interface SweepEstimate {
  /** Jobs that are not finished. */
  readonly left: number;
  /** Seconds with so many jobs at once; null where nothing is known of any of them. */
  readonly seconds: number | null;
  /** Bytes of the checkpoints and adapters that will stay; null as above. */
  readonly bytes: number | null;
  /** Jobs whose time is not known, and is not in the sum. */
  readonly unknownSeconds: number;
  /** Runs whose size is not known, and is not in the sum. */
  readonly unknownBytes: number;
  /** Where the figures come from. */
  readonly source: string;
}

/** Bytes a trained parameter takes in a checkpoint: value and two moments in float32. */
const bytesPerParameter = 12;
const adapterBytesPerParameter = 4;

type Known = ReadonlyMap<string, number>;

const keysOf = ({ kind, group, row }: Pick<SweepJob, "kind" | "group" | "row">): readonly [string, string] => [
  `${kind}/${group}/${row}`,
  `${kind}/${group}`,
];

/** Medians of a figure by row of a group, and by group. */
const mediansOf = (
  jobs: readonly SweepJobRecord[],
  figure: (job: SweepJobRecord) => number | null | undefined,
): Known => {
  const values = new Map<string, number[]>();
  for (const job of jobs) {
    const value = figure(job);
    if (typeof value !== "number") continue;
    for (const key of keysOf(job)) values.set(key, [...(values.get(key) ?? []), value]);
  }
  return new Map([...values].map(([key, list]) => [key, median(list)]));
};

/** Checkpoints that stay of a run: the newest ones, and the best one's beside them. */
const checkpointsOf = ({ spec }: SweepJob): number => spec.train.keepCheckpoints + 1;

const trialKey = ({ group, row }: SweepJob): string => `${group}/${row}`;

interface Knowledge {
  readonly seconds: Known;
  readonly trainable: Known;
  readonly trials: ReadonlyMap<string, RunTrial>;
}

const secondsOf = (job: SweepJob, { seconds, trials }: Knowledge): number | undefined => {
  const [row, group] = keysOf(job);
  const trial = job.kind === "run" ? trials.get(trialKey(job))?.seconds : undefined;
  return seconds.get(row) ?? trial ?? seconds.get(group);
};

const bytesOf = (job: SweepJob, { trainable, trials }: Knowledge): number | undefined => {
  const [row, group] = keysOf(job);
  const checkpoint = trials.get(trialKey(job))?.checkpoint;
  if (!trainable.has(row) && checkpoint !== undefined) return checkpoint * checkpointsOf(job);
  const parameters = trainable.get(row) ?? trainable.get(group);
  if (parameters === undefined) return undefined;
  return parameters * (bytesPerParameter * checkpointsOf(job) + adapterBytesPerParameter);
};

const sum = (values: readonly (number | undefined)[]): { readonly total: number | null; readonly unknown: number } => {
  const known = values.filter((value) => value !== undefined);
  const total = known.length === 0 && values.length > 0 ? null : known.reduce((all, value) => all + value, 0);
  return { total, unknown: values.length - known.length };
};

/**
 * Time and disk that the unfinished jobs will take: the medians of finished runs of the same row, else a trial's, else
 * the medians of the group. An upper bound of the disk: a short run has fewer checkpoints than it may keep.
 */
export const estimateSweep = (
  record: SweepRecord,
  jobs: readonly SweepJob[],
  { parallel, trials = new Map() }: { readonly parallel: number; readonly trials?: Knowledge["trials"] | undefined },
): SweepEstimate => {
  const finished = record.jobs.filter(({ state }) => state === "finished");
  const knowledge = {
    seconds: mediansOf(finished, (job) => job.seconds),
    trainable: mediansOf(finished, (job) => job.train?.parameters?.trainable),
    trials,
  };
  const done = new Set(finished.map(({ id }) => id));
  const left = jobs.filter(({ id }) => !done.has(id));
  const time = sum(left.map((job) => secondsOf(job, knowledge)));
  const disk = sum(left.filter(({ kind }) => kind === "run").map((job) => bytesOf(job, knowledge)));
  const timed = finished.filter(({ seconds }) => seconds !== null).length;
  const sources = [
    ...(timed === 0 ? [] : [`${timed} finished job(s) of this sweep`]),
    ...(trials.size === 0 ? [] : [`a trial of ${trials.size} row(s), steps alone`]),
  ];
  return {
    left: left.length,
    seconds: time.total === null ? null : time.total / parallel,
    bytes: disk.total,
    unknownSeconds: time.unknown,
    unknownBytes: disk.unknown,
    source: sources.length === 0 ? "nothing: no job has finished yet" : sources.join("; "),
  };
};

const notMade = { exitCode: null, stdout: "", stderr: "" };

const trialSays = z.object({ checkpoint: z.number(), time: z.object({ total: z.number() }) });

/** A trial begins, or has ended. */
export interface TrialEvent {
  /** `group/row`. */
  readonly row: string;
  readonly done: number;
  readonly of: number;
  /** What a trial that failed said last; null where it did not. */
  readonly failure: string | null;
}

/** One try of two steps for each row of which no run has finished; nothing of it is kept. A row whose trial fails has none. */
export const tryRows = async ({
  record,
  jobs,
  start,
  signal,
  onTrial,
}: {
  readonly record: SweepRecord;
  readonly jobs: readonly SweepJob[];
  readonly start: StartChildren;
  /** Aborted: no further trial is made. */
  readonly signal: AbortSignal;
  readonly onTrial?: ((event: TrialEvent) => void) | undefined;
}): Promise<ReadonlyMap<string, RunTrial>> => {
  const finished = new Set(
    record.jobs.flatMap(({ kind, state, group, row }) =>
      kind === "run" && state === "finished" ? [`${group}/${row}`] : [],
    ),
  );
  const rows = new Map(jobs.filter(({ kind }) => kind === "run").map((job) => [trialKey(job), job]));
  const untried = [...rows].filter(([key]) => !finished.has(key));
  const trials = new Map<string, RunTrial>();
  const folder = await mkdtemp(join(tmpdir(), "milora-trial-"));
  try {
    for (const [index, [key, job]] of untried.entries()) {
      if (signal.aborted) break;
      onTrial?.({ row: key, done: index, of: untried.length, failure: null });
      const spec = join(folder, job.id, "spec.json");
      await writeFileAtomic(spec, JSON.stringify(job.spec));
      const args = ["train", spec, "--dry-run", "--json"];
      const { ends } = await start({ calls: [{ args, log: "trial.log" }], folder: join(folder, job.id) });
      const [{ exitCode, stdout, stderr } = notMade] = ends;
      const said = exitCode === 0 ? trialSays.safeParse(JSON.parse(stdout)) : undefined;
      if (said?.data !== undefined)
        trials.set(key, { seconds: said.data.time.total, checkpoint: said.data.checkpoint });
      const failure = said?.data === undefined ? (stderr.trim().split("\n").at(-1) ?? "") : null;
      onTrial?.({ row: key, done: index + 1, of: untried.length, failure });
    }
    return trials;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
};
