import { existsSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { TrainEvent } from "../../../ts/runs/events.js";
import { createFakeTraining } from "../../support/fake-training.js";
import { recordOf, specWith, startFineTuning as start } from "../../support/fine-tuning.js";
import { temporaryFolder } from "../../support/temporary-folder.js";

const stepsIn = (events: readonly TrainEvent[]): readonly number[] =>
  events.flatMap((event) => (event.type === "step" && event.kind === "weights" ? [event.step] : []));

describe("fineTune", () => {
  it("alternates steps on the weights and the activations, evaluates, and keeps the best adapter", async () => {
    const out = join(await temporaryFolder(), "run");
    const backend = createFakeTraining({ devLosses: [1, 0.5, 0.8] });
    const spec = await specWith({ maxSteps: 6, evalEvery: 2, activationEvery: 2, checkpointEvery: 4 });
    const result = await start({ backend, spec, out }).result;
    expect(result).toMatchObject({
      steps: 6,
      stoppedBy: "max-steps",
      best: { step: 4, devPerplexity: Math.exp(0.5) },
    });
    const calls = backend.calls.map(({ name }) => name);
    expect(calls.filter((name) => name === "weightsStep")).toHaveLength(6);
    expect(calls.filter((name) => name === "activationStep")).toHaveLength(3);
    expect(calls.filter((name) => name === "saveAdapter")).toHaveLength(2);
    expect(readdirSync(join(out, "checkpoints")).toSorted()).toEqual(["step-4", "step-6"]);
    expect(existsSync(join(out, "plan", "adapter_config.json"))).toBe(true);
    expect(JSON.parse(readFileSync(join(out, "run.json"), "utf8"))).toMatchObject({ state: "finished", step: 6 });
  });

  it("gives a second-order activation step the weight step before it", async () => {
    const backend = createFakeTraining();
    const spec = await specWith({ maxSteps: 3, bilevel: "second-order" });
    await start({ backend, spec, out: join(await temporaryFolder(), "run") }).result;
    const inputs = (wanted: string) => backend.calls.filter(({ name }) => name === wanted).map(({ input }) => input);
    expect(inputs("activationStep")).toHaveLength(3);
    expect(inputs("activationStep").map((input) => Reflect.get(Object(input), "virtualStep"))).toEqual(
      inputs("weightsStep"),
    );
  });

  it("makes no activation step for a rate of 0", async () => {
    const backend = createFakeTraining();
    const spec = await specWith({ maxSteps: 2, activationLearningRate: 0 });
    await start({ backend, spec, out: join(await temporaryFolder(), "run") }).result;
    expect(backend.calls.some(({ name }) => name === "activationStep")).toBe(false);
  });

  it("stops when the perplexity no longer falls", async () => {
    const backend = createFakeTraining({ devLosses: [1, 2, 3, 4] });
    const spec = await specWith({ maxSteps: 50, evalEvery: 1, patience: 2 });
    const result = await start({ backend, spec, out: join(await temporaryFolder(), "run") }).result;
    expect(result).toMatchObject({ stoppedBy: "patience", steps: 3, best: { step: 1 } });
  });

  it("never takes a perplexity that is not a number for the best", async () => {
    const backend = createFakeTraining({ handlers: { dataLoss: () => ({ nll: 0, answerTokens: 0, routing: null }) } });
    const spec = await specWith({ maxSteps: 2, evalEvery: 1 });
    const result = await start({ backend, spec, out: join(await temporaryFolder(), "run") }).result;
    expect(result.best).toBeNull();
    expect(backend.calls.filter(({ name }) => name === "saveAdapter")).toHaveLength(1);
  });

  it("stops after the step when it is asked to, saved, and goes on to the same steps and batches", async () => {
    const spec = await specWith({ maxSteps: 9, evalEvery: 3, checkpointEvery: 4 });
    const straight = createFakeTraining();
    await start({ backend: straight, spec, out: join(await temporaryFolder(), "run") }).result;

    const out = join(await temporaryFolder(), "run");
    const first = createFakeTraining();
    const stopped = await start({
      backend: first,
      spec,
      out,
      onEvent: (event, run) => {
        if (event.type === "evaluation" && event.step === 3) run.stop("seen enough");
      },
    }).result;
    expect(stopped).toMatchObject({ stoppedBy: "seen enough", steps: 3 });
    const second = createFakeTraining();
    const resumed = await start({ backend: second, spec, out, resume: true }).result;
    expect(resumed).toMatchObject({ steps: 9, stoppedBy: "max-steps" });

    const batches = (calls: typeof straight.calls) =>
      calls.filter(({ name }) => name === "weightsStep" || name === "activationStep");
    expect([...batches(first.calls), ...batches(second.calls)]).toEqual(batches(straight.calls));
    expect(stepsIn(recordOf(out))).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  it("ends with an error that says what to do when losses stay non-finite, and keeps the checkpoints", async () => {
    const out = join(await temporaryFolder(), "run");
    const backend = createFakeTraining({ lossOf: (step) => (step > 4 ? null : 1) });
    const spec = await specWith({ maxSteps: 30, checkpointEvery: 2, evalEvery: 1 });
    const run = start({ backend, spec, out });
    await expect(run.result).rejects.toMatchObject({ code: "training/non-finite" });
    expect(JSON.parse(readFileSync(join(out, "run.json"), "utf8"))).toMatchObject({ state: "failed" });
    expect(readdirSync(join(out, "checkpoints")).length).toBeGreaterThan(0);
  });

  it("refuses a folder in use, a finished run, a changed spec, and other rows", async () => {
    const out = join(await temporaryFolder(), "run");
    const spec = await specWith({ maxSteps: 2 });
    const backend = createFakeTraining();
    await start({
      backend,
      spec,
      out,
      onEvent: (event, run) => {
        if (event.type === "started") run.stop();
      },
    }).result;
    await expect(start({ backend, spec, out }).result).rejects.toMatchObject({ code: "run/exists" });
    const changed = { ...spec, train: { ...spec.train, learningRate: 1 } };
    await expect(start({ backend, spec: changed, out, resume: true }).result).rejects.toMatchObject({
      code: "run/not-resumable",
      problems: ["train.learningRate: 0.0001 → 1"],
    });
    const other = createFakeTraining({
      handlers: {
        loadRows: () => ({
          rows: 1,
          promptTokens: [3],
          answerTokens: [2],
          truncated: [],
          dropped: [],
          checksum: "other",
        }),
      },
    });
    await expect(start({ backend: other, spec, out, resume: true }).result).rejects.toThrow(/not the ones/);
    await start({ backend, spec, out, resume: true }).result;
    await expect(start({ backend, spec, out, resume: true }).result).rejects.toThrow(/is finished/);
  });

  it("trains nothing when a row is malformed", async () => {
    const backend = createFakeTraining();
    const spec = await specWith({});
    const file = "train" in spec.data ? spec.data.train : "";
    writeFileSync(file, '{"prompt": "a", "answer": "b"}\n{"prompt": "a"}\n');
    const out = join(await temporaryFolder(), "run");
    await expect(start({ backend, spec, out }).result).rejects.toMatchObject({ code: "data/bad-row", line: 2 });
    expect(backend.calls).toEqual([]);
    expect(existsSync(out)).toBe(false);
  });

  it("tells its events in order to whoever iterates, also late", async () => {
    const backend = createFakeTraining();
    const spec = await specWith({ maxSteps: 2 });
    const run = start({ backend, spec, out: join(await temporaryFolder(), "run") });
    await run.result;
    const types: string[] = [];
    for await (const event of run) types.push(event.type);
    expect(types[0]).toBe("started");
    expect(types.at(-1)).toBe("finished");
  });
});
