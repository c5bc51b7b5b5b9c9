import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { MiloraError } from "../errors.js";
import { sweepFormatVersion, sweepRecordSchema, type SweepJobRecord, type SweepRecord } from "../runs/sweep-record.js";
import { parseWith } from "../spec/parse.js";
import type { SweepSpec } from "../spec/sweep.js";
import { readJsonFile, writeFileAtomic } from "../util/files.js";
import type { SweepJob } from "./expand.js";
import { holdFolder } from "./processes.js";

/** The books of a sweep: what became of each job, on disk after every change. */
export interface SweepBook {
  readonly record: () => SweepRecord;
  readonly job: (id: string) => SweepJobRecord;
  /** Changes a job's record; that of a finished one stays as it is. */
  readonly update: (id: string, change: Partial<SweepJobRecord>) => Promise<void>;
  /** Lets another process go on with the sweep. */
  readonly close: () => void;
}

const waiting = ({ id, name, kind, group, row, seed, before, evaluate }: SweepJob): SweepJobRecord => ({
  id,
  name,
  kind,
  group,
  row,
  seed,
  tasks: evaluate?.tasks ?? [],
  before,
  state: "waiting",
  attempts: 0,
  error: null,
  finished: null,
  seconds: null,
  machine: null,
  train: null,
  scores: null,
});

const recordText = (record: SweepRecord): string => `${JSON.stringify(record, undefined, 2)}\n`;

const sweepFile = (out: string): string => join(out, "sweep.json");

/** What a sweep leaves that was killed while it wrote its first record. */
const isHalfRecord = (name: string): boolean => /^sweep\.json\..*\.tmp$/.test(name);

const readRecord = async (out: string, name: string): Promise<SweepRecord | undefined> => {
  const file = sweepFile(out);
  if (!existsSync(file)) {
    if (existsSync(out) && readdirSync(out).some((name) => !isHalfRecord(name)))
      throw new MiloraError("run/exists", `${out} is not empty and holds no sweep.`, {
        file: out,
        hint: "Choose an empty or new folder with --out.",
      });
    return undefined;
  }
  const record = parseWith(sweepRecordSchema, await readJsonFile(file, "the sweep's record"), {
    what: "The record of the sweep",
    file,
  });
  if (record.name !== name)
    throw new MiloraError("run/exists", `${out} holds the sweep "${record.name}", not "${name}".`, {
      file,
      found: record.name,
      allowed: name,
      hint: "Choose another folder with --out.",
    });
  return record;
};

/** The record of a sweep as it stands with these jobs, on disk or not; nothing is written. */
export const readSweepRecord = async (
  out: string,
  sweep: SweepSpec,
  jobs: readonly SweepJob[],
): Promise<SweepRecord> => {
  const old = await readRecord(out, sweep.name);
  const known = new Map((old?.jobs ?? []).map((job) => [job.id, job]));
  for (const job of jobs) if (!known.has(job.id)) known.set(job.id, waiting(job));
  return {
    format: sweepFormatVersion,
    name: sweep.name,
    description: sweep.description ?? null,
    model: sweep.model,
    created: old?.created ?? new Date().toISOString(),
    reference: sweep.reference ?? null,
    plan: jobs.map(({ id }) => id),
    jobs: [...known.values()],
  };
};

/**
 * Opens the books in the sweep's folder, for one process at a time.
 * Errors: `run/exists` (another sweep, other files, another process at work); `run/disk`.
 */
export const openSweepBook = async (out: string, sweep: SweepSpec, jobs: readonly SweepJob[]): Promise<SweepBook> => {
  let record = await readSweepRecord(out, sweep, jobs);
  // A folder that can't be written is told by the first atomic write, which makes the folder too.
  if (!existsSync(sweepFile(out))) await writeFileAtomic(sweepFile(out), recordText(record));
  const release = holdFolder(join(out, "process"));
  record = await readSweepRecord(out, sweep, jobs);
  let written: Promise<void> = Promise.resolve();
  const save = (): Promise<void> => {
    const text = recordText(record);
    // One write at a time and in order, also where several jobs end at once; a failed one does not stop the next.
    written = written.catch(() => undefined).then(() => writeFileAtomic(sweepFile(out), text));
    return written;
  };
  const find = (id: string): SweepJobRecord => {
    const job = record.jobs.find((each) => each.id === id);
    if (job === undefined) throw new MiloraError("internal", `The sweep has no job ${id}.`);
    return job;
  };
  await save();
  return {
    record: () => record,
    job: find,
    update: async (id, change) => {
      if (find(id).state === "finished") return;
      record = { ...record, jobs: record.jobs.map((job) => (job.id === id ? { ...job, ...change } : job)) };
      await save();
    },
    close: release,
  };
};
