import { describe, expect, it } from "vitest";
import { sweepSchema } from "../../../ts/spec/sweep.js";
import { sweepRecordSchema } from "../../../ts/runs/sweep-record.js";
import { expandSweep, type SweepJob } from "../../../ts/sweep/expand.js";
import { estimateSweep, tryRows, type TrialEvent } from "../../../ts/sweep/estimate.js";

const sweep = sweepSchema.parse({
  name: "s",
  model: "m",
  spec: { train: { keepCheckpoints: 1 } },
  axes: { method: [{ kind: "lora" }, { kind: "milora" }], "train.seed": [0, 1] },
  groups: [{ name: "g", spec: { data: { train: "rows.jsonl" } } }],
});
const jobs = expandSweep(sweep);
const [loraZero, loraOne, ...miloras] = jobs;

const trained = {
  versions: {},
  device: "cpu",
  dtype: "float32",
  step: 1,
  stoppedBy: null,
  best: null,
  tokensPerSecond: 1,
  parameters: { trainable: 1000, activated: { min: 1, mean: 1, max: 1 } },
};

/** `seconds`: of a finished job; undefined for one that waits. */
const jobRecord = ({ id, name, kind, group, row, seed }: SweepJob, seconds: number | null | undefined) => ({
  id,
  name,
  kind,
  group,
  row,
  seed,
  tasks: [],
  before: null,
  state: seconds === undefined ? "waiting" : "finished",
  attempts: 1,
  error: null,
  finished: null,
  seconds: seconds ?? null,
  machine: null,
  train: seconds === undefined ? null : trained,
  scores: null,
});

const recordOf = (done: readonly (SweepJob | undefined)[], seconds: number | null = 100) =>
  sweepRecordSchema.parse({
    format: 1,
    name: "s",
    description: null,
    model: "m",
    created: "c",
    plan: jobs.map(({ id }) => id),
    jobs: jobs.map((job) => jobRecord(job, done.includes(job) ? seconds : undefined)),
  });

describe("estimateSweep", () => {
  it("knows nothing before a job has finished, and says so", () => {
    const estimate = estimateSweep(recordOf([]), jobs, { parallel: 1 });
    expect(estimate).toMatchObject({ left: 4, seconds: null, bytes: null, unknownSeconds: 4, unknownBytes: 4 });
    expect(estimate.source).toContain("nothing");
  });

  it("goes by finished runs of the same row, else of the group, and shares out the time", () => {
    const estimate = estimateSweep(recordOf([loraZero]), jobs, { parallel: 2 });
    expect(estimate).toMatchObject({ left: 3, seconds: 150, unknownSeconds: 0 });
    // Two checkpoints of twelve bytes a parameter and an adapter of four, a run.
    expect(estimate.bytes).toBe(3 * 1000 * (2 * 12 + 4));
    expect(estimate.source).toContain("1 finished job(s)");
  });

  it("prefers a trial of the row to other rows' runs", () => {
    const trials = new Map([["g/milora", { seconds: 7, checkpoint: 500 }]]);
    const estimate = estimateSweep(recordOf([loraZero]), jobs, { parallel: 1, trials });
    expect(estimate.seconds).toBe(100 + 2 * 7);
    expect(estimate.source).toContain("a trial of 1 row(s)");
  });

  it("reads records of older versions, which have no seconds", () => {
    const old = JSON.parse(
      JSON.stringify(recordOf([loraZero]), (key, value: unknown) => (key === "seconds" ? undefined : value)),
    );
    const record = sweepRecordSchema.parse(old);
    expect(record.jobs[0]?.seconds).toBeNull();
    expect(estimateSweep(record, jobs, { parallel: 1 })).toMatchObject({ seconds: null, unknownBytes: 0 });
  });

  it("has nothing left of a finished sweep", () => {
    expect(estimateSweep(recordOf(jobs), jobs, { parallel: 1 })).toMatchObject({ left: 0, seconds: 0, bytes: 0 });
  });
});

describe("tryRows", () => {
  const trial = JSON.stringify({ checkpoint: 640, time: { step: 0.1, total: 12 }, other: 1 });

  it("tries each row once of which no run has finished, by train --dry-run; one that fails has no figures", async () => {
    const calls: (readonly string[])[] = [];
    const told: TrialEvent[] = [];
    const trials = await tryRows({
      record: recordOf([]),
      jobs,
      signal: new AbortController().signal,
      onTrial: (event) => told.push(event),
      start: ({ calls: [call] }) => {
        calls.push(call?.args ?? []);
        const exitCode = calls.length === 1 ? 0 : 1;
        const stdout = exitCode === 0 ? trial : "";
        return Promise.resolve({ ends: [{ exitCode, signal: null, stdout, stderr: "a\nno room\n" }] });
      },
    });
    expect(calls.map(([command, , ...rest]) => [command, ...rest])).toEqual(
      Array.from({ length: 2 }, () => ["train", "--dry-run", "--json"]),
    );
    expect([...trials]).toEqual([["g/lora", { seconds: 12, checkpoint: 640 }]]);
    expect(told).toEqual([
      { row: "g/lora", done: 0, of: 2, failure: null },
      { row: "g/lora", done: 1, of: 2, failure: null },
      { row: "g/milora", done: 1, of: 2, failure: null },
      { row: "g/milora", done: 2, of: 2, failure: "no room" },
    ]);
  });

  it("passes over rows with a finished run, and starts nothing once it is stopped", async () => {
    const start = () => Promise.reject(new Error("nothing is to be started"));
    const signal = AbortSignal.abort();
    const { signal: open } = new AbortController();
    expect([...(await tryRows({ record: recordOf([]), jobs, start, signal }))]).toEqual([]);
    const done = recordOf([loraOne, miloras[0]]);
    expect([...(await tryRows({ record: done, jobs, start, signal: open }))]).toEqual([]);
  });
});
