import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { PythonBackend } from "../../ts/bridge/index.js";
import type { TrainEvent } from "../../ts/runs/events.js";
import type { RunSpec } from "../../ts/spec/run.js";
import { openModelBackend, plainPrompts, specOf, startRealRun } from "../support/real-training.js";
import { temporaryFolder } from "../support/temporary-folder.js";
import { makeTinyModel } from "../support/tiny-model.js";
import { stateOf } from "../support/training-runs.js";

let model: Awaited<ReturnType<typeof makeTinyModel>>;
let backend: PythonBackend;
beforeAll(async () => {
  model = await makeTinyModel();
  backend = await openModelBackend(model.folder, "faulty_ops");
});
afterAll(async () => {
  await backend.close();
  model.remove();
});

/** Runs in a new folder; gives it with its events and its failure, if it failed. */
const run = async (spec: RunSpec) => {
  const out = join(await temporaryFolder(), "run");
  const started = await startRealRun({ backend, spec, out });
  const events: TrainEvent[] = [];
  const error: unknown = await (async () => {
    for await (const event of started) events.push(event);
  })().catch((caught: unknown) => caught);
  return { out, events, error };
};

const ofType = <Type extends TrainEvent["type"]>(events: readonly TrainEvent[], type: Type) =>
  events.filter((event): event is Extract<TrainEvent, { type: Type }> => event.type === type);

const limitTokens = (tokens: number | null) => backend.session.call("limitTokens", { tokens });

/** What `body` gives, once `after` is done too, whether or not it failed. */
const andThen = async <Result>(body: Promise<Result>, after: () => Promise<unknown>): Promise<Result> => {
  try {
    return await body;
  } finally {
    await after();
  }
};

/** The 1-based line of the poisoned row in a run's own rows. */
const poisonedLine = (out: string, data: "train" | "dev"): number =>
  readFileSync(join(out, "data", `${data}.jsonl`), "utf8")
    .split("\n")
    .findIndex((row) => row.includes("Z")) + 1;

describe("a poisoned row", () => {
  const poison = (on: boolean) => backend.session.call("poisonToken", { text: "Z", on });

  it("is named, its updates are skipped and counted, and all else trains on", async () => {
    const prompts = plainPrompts(40).map((prompt, index) => (index === 21 ? `${prompt}Z` : prompt));
    const spec = await specOf(model.folder, { prompts, train: { epochs: 2, evalEvery: 1000, checkpointEvery: 1000 } });
    const inTrain = { ...spec, train: { ...spec.train, activationLearningRate: 0, seed: 3 } };
    await poison(true);
    const { out, events, error } = await andThen(run(inTrain), () => poison(false));
    const data = poisonedLine(out, "train") > 0 ? "train" : "dev";
    expect(data, "the seed decides in which set the row is").toBe("train");
    expect(error).toBeUndefined();
    const skipped = ofType(events, "skipped");
    expect(skipped).toHaveLength(2);
    for (const { lines, file } of skipped)
      expect({ lines, file }).toEqual({ lines: [poisonedLine(out, "train")], file: "data/train.jsonl" });
    expect(ofType(events, "finished")).toMatchObject([{ skipped: 2 }]);
    const losses = ofType(events, "step").map(({ loss }) => loss);
    expect(losses.filter((loss) => loss === null)).toHaveLength(2);
    expect(losses.length).toBeGreaterThan(10);
  });

  it("in each step ends the run at the limit, named, with the last good checkpoint and no half one", async () => {
    const prompts = plainPrompts(12).map((prompt, index) => (index < 6 ? prompt : `${prompt}Z`));
    const train = { maxSteps: 20, epochs: 50, batchSize: 12, nonFiniteLimit: 3, checkpointEvery: 1 };
    await poison(true);
    const { out, events, error } = await andThen(run(await specOf(model.folder, { prompts, train })), () =>
      poison(false),
    );
    expect(error).toMatchObject({ code: "training/non-finite", file: expect.stringMatching(/^data\//) });
    // Steps on Ω that were skipped are in a row, also where those on Θ between them were not.
    const skipped = ofType(events, "skipped");
    expect(skipped.filter(({ kind }) => kind === skipped.at(-1)?.kind)).toHaveLength(3);
    expect(JSON.parse(readFileSync(join(out, "run.json"), "utf8"))).toMatchObject({ state: "failed" });
    expect(readdirSync(join(out, "checkpoints")).every((name) => /^step-\d+$/.test(name))).toBe(true);
    expect(readdirSync(join(out, "checkpoints")).length).toBeGreaterThan(0);
  });
});

describe("memory that runs out", () => {
  const train = { maxSteps: 8, epochs: 50, batchSize: 8, evalEvery: 100, checkpointEvery: 100, microBatch: "auto" };

  const lossesOf = (events: readonly TrainEvent[]): readonly (number | null)[] =>
    ofType(events, "step").map(({ loss }) => loss);

  it("halves an automatic micro-batch and says so; the losses are those of a run that had the memory", async () => {
    const spec = await specOf(model.folder, { prompts: plainPrompts(60), train });
    const roomy = await run(spec);
    expect(ofType(roomy.events, "microBatch")).toMatchObject([{ from: null, to: 8 }]);
    let tight: Awaited<ReturnType<typeof run>> | undefined;
    const out = join(await temporaryFolder(), "run");
    const started = await startRealRun({
      backend,
      spec,
      out,
      decide: async (event) => {
        // The trial found memory for all; after three steps there is less of it.
        if (event.type === "step" && event.step === 3) await limitTokens(120);
        return undefined;
      },
    });
    const events: TrainEvent[] = [];
    try {
      for await (const event of started) events.push(event);
      tight = { out, events, error: undefined };
    } finally {
      await limitTokens(null);
    }
    const halved = ofType(tight.events, "microBatch");
    expect(halved.length).toBeGreaterThan(1);
    expect(halved.at(-1)?.to).toBeLessThan(8);
    const [expected, found] = [lossesOf(roomy.events), lossesOf(tight.events)];
    expect(found).toHaveLength(expected.length);
    expected.forEach((loss, index) =>
      expect(Math.abs((loss ?? 0) - (found[index] ?? Number.NaN)), `step ${index}`).toBeLessThan(2e-5),
    );
  });

  it("limits the trial, and ends a run whose rows do not even fit one by one", async () => {
    const spec = await specOf(model.folder, { prompts: plainPrompts(60), train });
    await limitTokens(120);
    const fitted = await andThen(run(spec), () => limitTokens(null));
    const found = ofType(fitted.events, "microBatch");
    expect(found[0]?.from).toBeNull();
    expect([1, 2, 4]).toContain(found[0]?.to);
    expect(fitted.error).toBeUndefined();
    await limitTokens(3);
    const failed = await andThen(run(spec), () => limitTokens(null));
    expect(failed.error).toMatchObject({ code: "memory/exhausted", hint: expect.stringContaining("microBatch") });
  });

  it("ends a run with a fixed micro-batch with its checkpoint kept; the run goes on when there is more", async () => {
    const fixed = { ...train, microBatch: 8, checkpointEvery: 2 };
    const spec = await specOf(model.folder, { prompts: plainPrompts(60), train: fixed });
    const straight = await run(spec);
    const out = join(await temporaryFolder(), "run");
    const started = await startRealRun({
      backend,
      spec,
      out,
      decide: async (event) => {
        if (event.type === "step" && event.step === 3) await limitTokens(20);
        return undefined;
      },
    });
    await expect(andThen(started.result, () => limitTokens(null))).rejects.toMatchObject({ code: "memory/exhausted" });
    expect(readdirSync(join(out, "checkpoints"))).toEqual(["step-2"]);
    await (
      await startRealRun({ backend, spec, out, resume: true })
    ).result;
    expect(stateOf(out, 8)).toEqual(stateOf(straight.out, 8));
  });
});
