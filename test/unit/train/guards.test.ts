import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { MiloraError } from "../../../ts/errors.js";
import type { TrainEvent } from "../../../ts/runs/events.js";
import { watchStalls } from "../../../ts/train/stall-watch.js";
import { savedNumbers } from "../../support/fake-books.js";
import { createFakeTraining } from "../../support/fake-training.js";
import { recordOf, specWith, startFineTuning as start } from "../../support/fine-tuning.js";
import { temporaryFolder } from "../../support/temporary-folder.js";

const runIn = async (): Promise<string> => join(await temporaryFolder(), "run");

const eventsOf = <Type extends TrainEvent["type"]>(out: string, type: Type) =>
  recordOf(out).filter((event): event is Extract<TrainEvent, { type: Type }> => event.type === type);

/** A data set whose row of this index has no finite loss. */
const poisoned = (name: string, row: number) => ({
  dataLoss: ({ data, rows }: { readonly data: string; readonly rows: readonly number[] }) => {
    if (data === name && rows.includes(row)) throw new MiloraError("training/non-finite", "The loss is not finite.");
    return { nll: 200, answerTokens: 200, routing: null };
  },
});

describe("a loss that is not finite", () => {
  it("skips the update, which is counted and told with the row that is to blame", async () => {
    const out = await runIn();
    const spec = await specWith({ maxSteps: 10, activationLearningRate: 0 });
    const lossOf = (step: number): number | null => (step === 4 ? null : 1);
    const plain = createFakeTraining({ lossOf });
    await start({ backend: plain, spec, out }).result;
    const [batch] = plain.calls.filter(({ name }) => name === "weightsStep").slice(3, 4);
    const rows: readonly number[] = Reflect.get(Object(batch?.input), "rows");
    expect(eventsOf(out, "skipped")).toMatchObject([
      {
        step: 4,
        kind: "weights",
        file: "data/train.jsonl",
        lines: rows.map((row) => row + 1).toSorted((a, b) => a - b),
      },
    ]);
    const again = await runIn();
    const guilty = rows[2] ?? -1;
    const backend = createFakeTraining({ lossOf, handlers: poisoned("train", guilty) });
    const result = await start({ backend, spec, out: again }).result;
    expect(eventsOf(again, "skipped")).toMatchObject([{ step: 4, lines: [guilty + 1], total: 1 }]);
    expect(result).toMatchObject({ steps: 10, skipped: 1 });
    expect(JSON.parse(readFileSync(join(again, "run.json"), "utf8"))).toMatchObject({ state: "finished", skipped: 1 });
  });

  it("ends the run at the limit, with the rows and the last good checkpoint", async () => {
    const out = await runIn();
    const backend = createFakeTraining({ lossOf: (step) => (step > 4 ? null : 1) });
    const spec = await specWith({ maxSteps: 30, checkpointEvery: 2, activationLearningRate: 0, nonFiniteLimit: 3 });
    await expect(start({ backend, spec, out }).result).rejects.toMatchObject({
      code: "training/non-finite",
      file: "data/train.jsonl",
      message: expect.stringMatching(/3 updates of the weights in a row, up to step 7.*data\/train\.jsonl, lines \d+/),
    });
    expect(readdirSync(join(out, "checkpoints")).toSorted()).toEqual(["step-4", "step-6"]);
  });

  it("counts over a resume as in one go", async () => {
    const spec = await specWith({ maxSteps: 30, checkpointEvery: 1, activationLearningRate: 0, nonFiniteLimit: 4 });
    const lossOf = (step: number): number | null => (step > 4 ? null : 1);
    const out = await runIn();
    const decide = (event: TrainEvent) => (event.type === "step" && event.step === 6 ? { stop: "now" } : undefined);
    await start({ backend: createFakeTraining({ lossOf }), spec, out, decide }).result;
    const resumed = start({ backend: createFakeTraining({ lossOf }), spec, out, resume: true });
    await expect(resumed.result).rejects.toThrow(/up to step 8/);
    expect(eventsOf(out, "skipped").map(({ total }) => total)).toEqual([1, 2, 3, 4]);
  });

  it("of the dev set ends the run with its rows named", async () => {
    const backend = createFakeTraining({ handlers: poisoned("dev", 17) });
    const spec = await specWith({ maxSteps: 4, evalEvery: 2 });
    await expect(start({ backend, spec, out: await runIn() }).result).rejects.toMatchObject({
      code: "training/non-finite",
      file: "data/dev.jsonl",
      line: 18,
    });
  });
});

/** A training that has memory for so many rows at once. */
const withRoomFor = (most: number) => {
  let rows = 0;
  return createFakeTraining({
    before: (name) => {
      if ((name === "weightsStep" || name === "activationStep") && rows > most)
        throw new MiloraError("memory/exhausted", "There is not enough memory.");
    },
    handlers: {
      setMicroBatch: (input) => {
        rows = input.rows;
        return {};
      },
      trialStep: (input) => {
        if (input.rows.length > 6) throw new MiloraError("memory/exhausted", "There is not enough memory.");
        return { usedBytes: 1000, freeBytes: 1_000_000 };
      },
    },
  });
};

describe("memory that runs out", () => {
  it("halves an automatic micro-batch, says so, and makes the same steps", async () => {
    const spec = await specWith({ maxSteps: 6, microBatch: "auto", checkpointEvery: 3 });
    const [out, roomy] = [await runIn(), await runIn()];
    await start({ backend: withRoomFor(1), spec, out }).result;
    await start({ backend: createFakeTraining(), spec, out: roomy }).result;
    // The trial finds 4 of 8 rows; the first step shows that there is room for 1.
    expect(eventsOf(out, "microBatch")).toMatchObject([
      { step: 0, from: null, to: 4 },
      { step: 1, from: 4, to: 1 },
    ]);
    expect(eventsOf(roomy, "microBatch")).toMatchObject([{ step: 0, from: null, to: 8 }]);
    const numbers = (run: string): string => savedNumbers(join(run, "checkpoints", "step-6", "training"));
    expect(numbers(out)).toBe(numbers(roomy));
  });

  it("is remembered by a checkpoint", async () => {
    const spec = await specWith({ maxSteps: 6, microBatch: "auto" });
    const out = await runIn();
    const decide = (event: TrainEvent) => (event.type === "step" && event.step === 3 ? { stop: "now" } : undefined);
    await start({ backend: withRoomFor(1), spec, out, decide }).result;
    const backend = withRoomFor(1);
    await start({ backend, spec, out, resume: true }).result;
    expect(backend.calls.filter(({ name }) => name === "setMicroBatch")).toMatchObject([{ input: { rows: 1 } }]);
    expect(backend.calls.some(({ name }) => name === "trialStep")).toBe(false);
  });

  it("ends a run with a fixed micro-batch, its checkpoints kept", async () => {
    const spec = await specWith({ maxSteps: 6, checkpointEvery: 2 });
    let made = 0;
    const backend = createFakeTraining({
      before: (name) => {
        if (name !== "weightsStep") return;
        made += 1;
        if (made > 4) throw new MiloraError("memory/exhausted", "There is not enough memory.");
      },
    });
    const out = await runIn();
    await expect(start({ backend, spec, out }).result).rejects.toMatchObject({ code: "memory/exhausted" });
    expect(readdirSync(join(out, "checkpoints"))).toContain("step-4");
    expect(JSON.parse(readFileSync(join(out, "run.json"), "utf8"))).toMatchObject({ state: "failed", step: 4 });
  });

  it("is asked for by a trial that stops before the next doubling would not fit", async () => {
    const spec = await specWith({ maxSteps: 1, microBatch: "auto" });
    const tried: number[] = [];
    const backend = createFakeTraining({
      handlers: {
        trialStep: ({ rows }) => {
          tried.push(rows.length);
          return { usedBytes: 100 * rows.length, freeBytes: 400 };
        },
      },
    });
    const out = await runIn();
    await start({ backend, spec, out }).result;
    expect(tried).toEqual([1, 2, 4]);
    expect(eventsOf(out, "microBatch")).toMatchObject([{ from: null, to: 4 }]);
  });
});

describe("a hook", () => {
  it("changes the rates from the next step on, saves, and stops; a resumed run keeps the rates", async () => {
    const spec = await specWith({ maxSteps: 8, warmup: 0, checkpointEvery: 100, evalEvery: 4 });
    const out = await runIn();
    const backend = createFakeTraining();
    const seen: string[] = [];
    await start({
      backend,
      spec,
      out,
      decide: async (event) => {
        seen.push(`${event.type} ${event.step}`);
        if (event.type === "evaluation") return { stop: "good enough" };
        if (event.kind !== "weights") return undefined;
        return event.step === 2 ? { rateFactor: 0.5 } : { save: event.step === 3 };
      },
    }).result;
    expect(seen).toEqual([1, 2, 3, 4].flatMap((step) => [`step ${step}`, `step ${step}`]).concat("evaluation 4"));
    const saved = readdirSync(join(out, "checkpoints")).toSorted();
    expect(saved).toEqual(["step-3", "step-4"]);
    const again = createFakeTraining();
    await start({ backend: again, spec, out, resume: true }).result;
    const rates = [...backend.calls, ...again.calls]
      .filter(({ name }) => name === "weightsStep")
      .map(({ input }) => Reflect.get(Object(input), "learningRate") / spec.train.learningRate);
    const scheduled = [1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8];
    scheduled.forEach((rate, step) => expect(rates[step]).toBeCloseTo(step < 2 ? rate : rate / 2, 12));
  });

  it("may not ask for a rate that is none", async () => {
    const spec = await specWith({ maxSteps: 8 });
    const run = start({ backend: createFakeTraining(), spec, out: await runIn(), decide: () => ({ rateFactor: -1 }) });
    await expect(run.result).rejects.toMatchObject({ code: "input/invalid-spec", found: "-1" });
  });
});

describe("the stall watch", () => {
  beforeEach(() => vi.useFakeTimers({ toFake: ["setInterval", "clearInterval", "performance"] }));
  afterEach(() => vi.useRealTimers());

  it("tells each stall once, with what was going on", () => {
    const told: string[] = [];
    const watch = watchStalls(2, (during) => told.push(during));
    vi.advanceTimersByTime(110_000);
    watch.beat("evaluation");
    vi.advanceTimersByTime(110_000);
    expect(told).toEqual([]);
    vi.advanceTimersByTime(400_000);
    expect(told).toEqual(["evaluation"]);
    watch.beat("steps");
    vi.advanceTimersByTime(200_000);
    expect(told).toEqual(["evaluation", "steps"]);
    watch.close();
    vi.advanceTimersByTime(1_000_000);
    expect(told).toHaveLength(2);
  });

  it("does not end the process where a stall can't be told", () => {
    const tell = vi.fn(() => {
      throw new Error("the disk is full");
    });
    const watch = watchStalls(2, tell);
    expect(() => vi.advanceTimersByTime(300_000)).not.toThrow();
    expect(tell).toHaveBeenCalledTimes(1);
    watch.close();
  });
});
