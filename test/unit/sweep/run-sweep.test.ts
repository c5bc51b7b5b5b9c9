import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { describe, expect, it } from "vitest";
import { manifestSchema } from "../../../ts/runs/manifest.js";
import type { SweepJobRecord } from "../../../ts/runs/sweep-record.js";
import { sweepSchema } from "../../../ts/spec/sweep.js";
import { openSweepBook } from "../../../ts/sweep/book.js";
import type { ChildCall, ChildEnd, StartChildren } from "../../../ts/sweep/child.js";
import { expandSweep } from "../../../ts/sweep/expand.js";
import { jobPlaces, tryJob } from "../../../ts/sweep/run-job.js";
import { runSweep } from "../../../ts/sweep/run-sweep.js";
import { temporaryFolder } from "../../support/temporary-folder.js";
import { rejectionOf } from "../../support/thrown.js";

const sweep = sweepSchema.parse({
  name: "s",
  model: "m",
  axes: { method: [{ kind: "lora" }, { kind: "milora" }], "train.seed": [0, 1] },
  groups: [
    { name: "g", spec: { data: { task: "smart-home", dir: "d" } }, evaluate: { tasks: ["smart-home"], limit: 5 } },
  ],
});
const jobs = expandSweep(sweep);
const loraOne = jobs.find(({ name }) => name === "g/lora/seed-1")?.id ?? "";

const good: ChildEnd = { exitCode: 0, signal: null, stdout: "{}", stderr: "" };
const score = {
  task: "smart-home",
  version: 1,
  scorer: "generate",
  template: "calls",
  templateHash: "h",
  protocol: "p",
  accuracy: 0.5,
  correct: 1,
  total: 2,
  unparsed: 0,
  chance: 0,
  majority: 0.1,
  interval: [0.2, 0.8],
  seconds: 1,
};

const valueAfter = (args: readonly string[], name: string): string => args[args.indexOf(name) + 1] ?? "";

const writeRun = (call: ChildCall, state: string): void => {
  const run = valueAfter(call.args, "--out");
  mkdirSync(run, { recursive: true });
  const spec = JSON.parse(readFileSync(call.args[1] ?? "", "utf8"));
  const manifest = manifestSchema.parse({
    format: 1,
    state,
    created: "c",
    updated: "u",
    versions: { torch: "2" },
    device: "cpu",
    dtype: "float32",
    spec,
    data: { train: "t", dev: "d", format: "plain" },
    step: 3,
    stoppedBy: "max-steps",
    tokensPerSecond: 9,
    best: { step: 2, devPerplexity: 1.5 },
  });
  writeFileSync(join(run, "run.json"), JSON.stringify(manifest));
};

/** Our program, played: `script` may say how a call ends, by its job and command. */
const player = (script: (job: string, command: string, turn: number) => ChildEnd | undefined = () => undefined) => {
  const calls: string[] = [];
  const args: (readonly string[])[] = [];
  const make = (call: ChildCall, job: string): ChildEnd => {
    const key = `${job} ${call.args[0]}`;
    calls.push(key);
    args.push(call.args);
    const turn = calls.filter((made) => made === key).length;
    const end = script(job, call.args[0] ?? "", turn) ?? good;
    if (call.args[0] === "train") writeRun(call, end.exitCode === 0 ? "finished" : "running");
    const stdout = call.args[0] === "eval" && end === good ? JSON.stringify({ results: [score] }) : end.stdout;
    return { ...end, stdout };
  };
  const start: StartChildren = (work) => {
    const ends: ChildEnd[] = [];
    work.onStart?.();
    for (const call of work.calls) {
      ends.push(make(call, basename(work.folder)));
      if (ends.at(-1)?.exitCode !== 0) break;
    }
    return Promise.resolve({ ends });
  };
  return { calls, args, start };
};

const run = async (
  out: string,
  {
    start,
    signal = new AbortController().signal,
    onChange,
  }: {
    readonly start: StartChildren;
    readonly signal?: AbortSignal;
    readonly onChange?: (job: SweepJobRecord) => void;
  },
) => {
  const book = await openSweepBook(out, sweep, jobs);
  try {
    await runSweep({ out, jobs, book, start, parallel: 1, signal, onChange });
  } finally {
    book.close();
  }
  return JSON.parse(readFileSync(join(out, "sweep.json"), "utf8"));
};

const stateOf = (record: { readonly jobs: readonly { readonly id: string; readonly state: string }[] }, id: string) =>
  record.jobs.find((job) => job.id === id)?.state;

const folder = async (): Promise<string> => join(await temporaryFolder(), "out");

describe("runSweep", () => {
  it("trains, then scores, with our own program; the untuned model once", async () => {
    const player1 = player();
    const record = await run(await folder(), player1);
    expect(player1.calls).toHaveLength(9);
    expect(player1.calls.slice(0, 3)).toEqual([`${jobs[0]?.id} eval`, `${jobs[1]?.id} train`, `${jobs[1]?.id} eval`]);
    expect(player1.args[0]).not.toContain("--adapter");
    expect(player1.args[2]).toEqual(expect.arrayContaining(["--adapter", "--limit", "5", "--data", "d", "--json"]));
    expect(record.jobs.map(({ state }: { readonly state: string }) => state)).toEqual(Array(5).fill("finished"));
    expect(record.jobs[1]).toMatchObject({ attempts: 1, train: { step: 3 }, scores: [{ accuracy: 0.5 }] });
  });

  it("scores over the base as it was trained over", async () => {
    const out = await folder();
    const [, job] = expandSweep({ ...sweep, spec: { train: { quantization: "nf4" } } });
    if (job === undefined) throw new Error("there is a run");
    const { args, start } = player();
    expect(await tryJob(job, jobPlaces(out, job.id), { start, signal: new AbortController().signal })).toMatchObject({
      scores: [{ accuracy: 0.5 }],
    });
    expect(args.map((each) => each.includes("--quantization"))).toEqual([false, true]);
    expect(valueAfter(args[1] ?? [], "--quantization")).toBe("nf4");
  });

  it("never does a finished job again", async () => {
    const out = await folder();
    const first = await run(out, player());
    const again = player();
    expect(await run(out, again)).toEqual(first);
    expect(again.calls).toEqual([]);
  });

  it("tries a crashed run once more, with --resume, and a second crash stops no other run", async () => {
    const crash = { exitCode: null, signal: "SIGKILL", stdout: "", stderr: "step 1\nout of memory" };
    const once = player((job, command, turn) =>
      job === loraOne && command === "train" && turn === 1 ? crash : undefined,
    );
    const record = await run(await folder(), once);
    expect(once.calls.filter((call) => call === `${loraOne} train`)).toHaveLength(2);
    expect(once.args.filter(([command]) => command === "train").every((args) => args.includes("--resume"))).toBe(true);
    expect(record.jobs[2]).toMatchObject({ state: "finished", attempts: 2, error: null });

    const always = player((job, command) => (job === loraOne && command === "train" ? crash : undefined));
    const failed = await run(await folder(), always);
    expect(failed.jobs[2]).toMatchObject({ state: "failed", attempts: 2, train: null });
    expect(failed.jobs[2].error).toBe("train (signal SIGKILL): step 1\nout of memory");
    expect(failed.jobs.filter(({ state }: { readonly state: string }) => state === "finished")).toHaveLength(4);
  });

  it("tries wrong input just once and tells its error", async () => {
    const wrong = {
      exitCode: 2,
      signal: null,
      stdout: JSON.stringify({ error: { message: "no such task" } }),
      stderr: "x",
    };
    const played = player((job, command) => (job === loraOne && command === "eval" ? wrong : undefined));
    const record = await run(await folder(), played);
    expect(played.calls.filter((call) => call === `${loraOne} eval`)).toHaveLength(1);
    expect(record.jobs[2]).toMatchObject({ state: "failed", error: "eval (exit code 2): no such task" });
  });

  it("scores a run whose training was finished, without training it again", async () => {
    const out = await folder();
    const crash = { exitCode: 1, signal: null, stdout: "", stderr: "killed" };
    await run(
      out,
      player((job, command) => (job === loraOne && command === "eval" ? crash : undefined)),
    );
    const again = player();
    expect(stateOf(await run(out, again), loraOne)).toBe("finished");
    expect(again.calls).toEqual([`${loraOne} eval`]);
  });

  it("removes what a run left that was killed before its record began", async () => {
    const out = await folder();
    (await openSweepBook(out, sweep, jobs)).close();
    const left = join(out, "runs", loraOne, "run", "data");
    mkdirSync(left, { recursive: true });
    expect(stateOf(await run(out, player()), loraOne)).toBe("finished");
    expect(existsSync(left)).toBe(false);
  });

  it("a broken run record fails its own job only", async () => {
    const out = await folder();
    (await openSweepBook(out, sweep, jobs)).close();
    mkdirSync(join(out, "runs", loraOne, "run"), { recursive: true });
    writeFileSync(join(out, "runs", loraOne, "run", "run.json"), '{"format": 1, "sta');
    const record = await run(out, player());
    expect(record.jobs.map(({ state }: { readonly state: string }) => state).toSorted()).toEqual([
      "failed",
      ...Array(4).fill("finished"),
    ]);
    expect(stateOf(record, loraOne)).toBe("failed");
  });

  it("starts nothing more after an interrupt, and goes on from there", async () => {
    const out = await folder();
    const controller = new AbortController();
    const stopped = player((job, command) => {
      if (job !== loraOne || command !== "train") return undefined;
      controller.abort();
      return { exitCode: 130, signal: null, stdout: "", stderr: "" };
    });
    const record = await run(out, { ...stopped, signal: controller.signal });
    expect(stateOf(record, loraOne)).toBe("stopped");
    expect(stopped.calls.at(-1)).toBe(`${loraOne} train`);
    const again = player();
    const finished = await run(out, again);
    expect(again.calls[0]).toBe(`${loraOne} train`);
    expect(finished.jobs.every(({ state }: { readonly state: string }) => state === "finished")).toBe(true);
  });
});

describe("a sweep whose jobs run elsewhere", () => {
  const machine = { cores: 8, processor: "p", platform: "linux-x64", node: "20.19.0" };

  it("tries a job whose machine was lost again, more often than one that crashes", async () => {
    const { calls, start } = player();
    const losing =
      (times: number): StartChildren =>
      async (work) => {
        const isLost = basename(work.folder) === loraOne && calls.filter((call) => call === "lost").length < times;
        if (!isLost) return { ...(await start(work)), machine };
        work.onStart?.();
        calls.push("lost");
        return { ends: [], lost: "node 10.0.0.7 is gone" };
      };
    const told: string[] = [];
    const record = await run(await folder(), {
      start: losing(5),
      onChange: ({ id, state, error }) => id === loraOne && told.push(`${state} ${String(error)}`),
    });
    expect(record.jobs[2]).toMatchObject({ state: "finished", attempts: 6, error: null, machine });
    expect(told.slice(0, 3)).toEqual(["running null", "waiting node 10.0.0.7 is gone", "running null"]);
    expect(told.at(-1)).toBe("finished null");
    calls.length = 0;
    const failed = await run(await folder(), { start: losing(6) });
    expect(failed.jobs[2]).toMatchObject({ state: "failed", attempts: 6, error: "node 10.0.0.7 is gone" });
  });

  it("leaves a job as it was that waited for its turn when the sweep was stopped", async () => {
    const controller = new AbortController();
    const start: StartChildren = () => {
      controller.abort();
      return Promise.resolve({ ends: [] });
    };
    const record = await run(await folder(), { start, signal: controller.signal });
    expect(record.jobs.map(({ state, attempts }: { state: string; attempts: number }) => [state, attempts])).toEqual(
      Array.from({ length: 5 }, () => ["waiting", 0]),
    );
  });
});

describe("the sweep's folder", () => {
  it("is refused where it holds another sweep, other files, or half a record", async () => {
    const out = await folder();
    await run(out, player());
    const other = { ...sweep, name: "other" };
    expect((await rejectionOf(openSweepBook(out, other, jobs), "run/exists")).message).toContain('"s", not "other"');
    const file = join(out, "sweep.json");
    writeFileSync(file, readFileSync(file, "utf8").slice(0, 500));
    await rejectionOf(openSweepBook(out, sweep, jobs), "input/invalid-spec");
    const foreign = await temporaryFolder();
    writeFileSync(join(foreign, "notes.txt"), "mine");
    await rejectionOf(openSweepBook(foreign, sweep, jobs), "run/exists");
  });

  it("is taken where a sweep was killed while it wrote its first record", async () => {
    const out = await temporaryFolder();
    writeFileSync(join(out, "sweep.json.4711-0a1b2c3d.tmp"), '{"format": 1, "na');
    (await openSweepBook(out, sweep, jobs)).close();
    expect(existsSync(join(out, "sweep.json"))).toBe(true);
  });

  it("keeps the records of jobs that the spec no longer names", async () => {
    const out = await folder();
    await run(out, player());
    const fewer = jobs.slice(0, 2);
    const book = await openSweepBook(out, sweep, fewer);
    book.close();
    expect(book.record().plan).toEqual(fewer.map(({ id }) => id));
    expect(book.record().jobs).toHaveLength(5);
  });
});
