import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, it, vi } from "vitest";
import type { Phase } from "../../../ts/methods/phase.js";
import { resolveMethod } from "../../../ts/methods/registry.js";
import type { TrainEvent } from "../../../ts/runs/events.js";
import { createTrainer } from "../../../ts/train/create-trainer.js";
import { savedNumbers } from "../../support/fake-books.js";
import { createFakeTraining, type FakeTraining } from "../../support/fake-training.js";
import { recordOf, smallGraph, specWith, startFineTuning as start } from "../../support/fine-tuning.js";
import { temporaryFolder } from "../../support/temporary-folder.js";

/** How the method of these tests trains; methods with phases of their own have tests of their own. */
interface Training {
  readonly search: Omit<Phase, "name"> | undefined;
  readonly bestFrom: number;
  readonly scheduled: boolean;
}

const plain: Training = { search: undefined, bestFrom: 0, scheduled: false };
const searching: Training = { ...plain, search: { steps: 4, search: { learningRate: 0.25, pruneEvery: 2 } } };
const chosen = vi.hoisted((): { training: Training | undefined } => ({ training: undefined }));

vi.mock(import("../../../ts/methods/registry.js"), async (original) => {
  const registry = await original();
  return {
    resolveMethod: (...given) => {
      const method = registry.resolveMethod(...given);
      const training = (totalSteps: number) => {
        const { search, ...rest } = chosen.training ?? plain;
        const train: Phase = { name: "train", steps: totalSteps - (search?.steps ?? 0), search: null };
        const phases: readonly Phase[] = search === undefined ? [train] : [{ name: "search", ...search }, train];
        return { ...rest, phases, config: method.config };
      };
      return { ...method, training };
    },
  };
});

/** 10 steps, of them 4 of search; none on the activations after it. */
const settings = {
  maxSteps: 10,
  activationLearningRate: 0,
  activationEvery: 3,
  evalEvery: 3,
  checkpointEvery: 3,
  keepCheckpoints: 9,
  seed: 7,
};

const runOf = async (fake: FakeTraining = {}, train: object = {}) => {
  const out = join(await temporaryFolder(), "run");
  const backend = createFakeTraining(fake);
  const spec = await specWith({ ...settings, ...train });
  const told: TrainEvent[] = [];
  const result = await start({ backend, spec, out, onEvent: (event) => told.push(event) }).result;
  return { out, backend, spec, result, told };
};

type Run = Awaited<ReturnType<typeof runOf>>;
const inputsOf = ({ backend }: Pick<Run, "backend">, op: string): readonly unknown[] =>
  backend.calls.flatMap(({ name, input }) => (name === op ? [input] : []));
const ofType = <Type extends TrainEvent["type"]>(events: readonly TrainEvent[], type: Type) =>
  events.filter((event): event is Extract<TrainEvent, { type: Type }> => event.type === type);
const planOf = (out: string, file: string): unknown => JSON.parse(readFileSync(join(out, "plan", file), "utf8"));
const numbersAt = (out: string, step: number): string =>
  savedNumbers(join(out, "checkpoints", `step-${step}`, "training"));

beforeEach(() => {
  chosen.training = searching;
});

describe("a run that searches", () => {
  it("makes its operations in this order", async () => {
    const { backend } = await runOf();
    const quiet = new Set(["loadRows", "trainingFigures"]);
    expect(backend.calls.map(({ name }) => name).filter((name) => !quiet.has(name))).toEqual(
      [
        ["attachAdapter", "startTraining"],
        ["weightsStep", "activationStep", "weightsStep", "activationStep", "pruneCandidates"],
        ["weightsStep", "activationStep", "dataLoss", "saveTraining"],
        ["weightsStep", "activationStep", "pruneCandidates", "saveTraining"],
        ["discretise", "stopTraining", "unloadAdapter", "attachAdapter", "startTraining"],
        ["weightsStep", "weightsStep", "dataLoss", "saveAdapter", "saveTraining"],
        ["weightsStep", "weightsStep", "weightsStep", "dataLoss", "saveTraining"],
        ["weightsStep", "dataLoss", "saveTraining"],
        ["stopTraining", "unloadAdapter"],
      ].flat(),
    );
  });

  it("trains what it found anew, with the seed, and writes both plans", async () => {
    const { out, backend } = await runOf({}, { warmStart: "elsewhere" });
    const [search, found] = inputsOf({ backend }, "attachAdapter");
    expect(search).toMatchObject({
      config: { peft_type: "MILORA_PROMPT" },
      seed: 7,
      warmStart: expect.stringMatching(/elsewhere$/),
    });
    expect(found).toMatchObject({ config: { found: numbersAt(out, 4), inference_mode: false }, seed: 7 });
    expect(found).toMatchObject({ warmStart: null });
    expect(planOf(out, "search.json")).toMatchObject({ peft_type: "MILORA_PROMPT", inference_mode: true });
    expect(planOf(out, "adapter_config.json")).toEqual({
      peft_type: "FAKE",
      found: numbersAt(out, 4),
      inference_mode: true,
    });
    const { parameters } = JSON.parse(readFileSync(join(out, "run.json"), "utf8"));
    expect(parameters).toEqual({ trainable: 6, activated: { min: 6, mean: 6, max: 6 } });
  });

  it("tells its phases and what was pruned, after the steps before", async () => {
    const { told, out } = await runOf();
    const phases = [
      { type: "phase", name: "search", index: 0, of: 2, step: 0, steps: 4, trainable: 10 },
      { type: "phase", name: "train", index: 1, of: 2, step: 4, steps: 6, trainable: 6 },
    ];
    expect(ofType(told, "phase")).toEqual(phases);
    expect(ofType(recordOf(out), "phase")).toMatchObject(phases);
    expect(ofType(told, "pruned")).toEqual([
      { type: "pruned", step: 2, left: 3 },
      { type: "pruned", step: 4, left: 2 },
    ]);
    const steps = told.map((event) => ("step" in event ? event.step : 0));
    expect(steps).toEqual(steps.toSorted((a, b) => a - b));
  });

  it("lets the rate of the weights rise and fall in each phase, and keeps the search's constant", async () => {
    const { told } = await runOf({}, { warmup: 0, learningRate: 1 });
    const rates = (kind: "weights" | "activation") =>
      ofType(told, "step").flatMap((event) => (event.kind === kind ? [event.learningRate] : []));
    expect(rates("weights")).toEqual([1, 3 / 4, 2 / 4, 1 / 4, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]);
    expect(rates("activation")).toEqual([0.25, 0.25, 0.25, 0.25]);
  });

  it("goes on in the order of the rows from phase to phase", async () => {
    const searched = await runOf();
    chosen.training = plain;
    const straight = await runOf();
    const rows = (run: Run) => inputsOf(run, "weightsStep").map((input) => Reflect.get(Object(input), "rows"));
    expect(rows(searched)).toHaveLength(10);
    expect(rows(searched)).toEqual(rows(straight));
  });

  it("never keeps an adapter of the search as the best, nor loses its patience there", async () => {
    const { result, told } = await runOf(
      { devLossAt: (step) => step },
      { evalEvery: 1, patience: 3, checkpointEvery: 100 },
    );
    expect(result).toMatchObject({ best: { step: 5, devPerplexity: Math.exp(5) }, stoppedBy: "patience", steps: 8 });
    expect(ofType(told, "evaluation").map(({ best }) => best)).toEqual([
      // The search's four, then the ones that count.
      false,
      false,
      false,
      false,
      true,
      false,
      false,
      false,
    ]);
  });

  it("stopped in the search leaves an adapter, and is not finished", async () => {
    const out = join(await temporaryFolder(), "run");
    const stopped = await start({
      backend: createFakeTraining(),
      spec: await specWith(settings),
      out,
      onEvent: (event, run) => {
        if (event.type === "pruned" && event.step === 4) run.stop("enough");
      },
    }).result;
    expect(stopped).toMatchObject({ steps: 4, stoppedBy: "enough", best: null });
    expect(savedNumbers(join(out, "adapter"))).toBe(numbersAt(out, 4));
    expect(existsSync(join(out, "plan", "search.json"))).toBe(false);
    expect(JSON.parse(readFileSync(join(out, "run.json"), "utf8"))).toMatchObject({ state: "stopped" });
  });

  it("is refused where a phase has no step", async () => {
    await expect(runOf({}, { maxSteps: 4 })).rejects.toMatchObject({
      code: "input/invalid-spec",
      message: expect.stringContaining("phase train has no step"),
    });
  });
});

describe("a killed run that searches", () => {
  it("goes on to the same numbers, wherever it was killed", async () => {
    const devLossAt = (step: number): number => 1 + ((step * 7) % 10) / 10;
    let operations = 0;
    const straight = await runOf({ devLossAt, before: () => (operations += 1) });
    expect(operations).toBeGreaterThan(30);
    for (let survived = 1; survived < operations; survived += 1) {
      const out = join(await temporaryFolder(), "run");
      let left = survived;
      const before = (): void => {
        left -= 1;
        if (left < 0) throw new Error("killed");
      };
      const { spec } = straight;
      const killed = start({ backend: createFakeTraining({ devLossAt, before }), spec, out });
      const ended = await killed.result.then(
        () => "whole",
        (error: unknown) => String(error),
      );
      const backend = createFakeTraining({ devLossAt });
      // Killed in the last two operations, which end the session, a run is whole.
      if (ended === "whole") expect(survived).toBeGreaterThanOrEqual(operations - 2);
      else {
        expect(ended).toContain("killed");
        const result = await start({ backend, spec, out, resume: true }).result;
        expect(result).toMatchObject({ steps: 10, stoppedBy: "max-steps", best: straight.result.best });
      }
      expect(numbersAt(out, 10)).toBe(numbersAt(straight.out, 10));
      expect(savedNumbers(join(out, "adapter"))).toBe(savedNumbers(join(straight.out, "adapter")));
      expect(planOf(out, "adapter_config.json")).toEqual(planOf(straight.out, "adapter_config.json"));
      expect(planOf(out, "search.json")).toEqual(planOf(straight.out, "search.json"));
      const steps = ofType(recordOf(out), "step").flatMap(({ kind, step }) => (kind === "weights" ? [step] : []));
      expect(steps).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    }
  });
});

describe("a method with a budget schedule", () => {
  it("gets the step of it, and keeps no adapter before the budget is reached", async () => {
    chosen.training = { ...plain, scheduled: true, bestFrom: 8 };
    const run = await runOf({ devLossAt: (step) => step }, { evalEvery: 2, patience: 1 });
    const numbers = inputsOf(run, "weightsStep").map((input) => Reflect.get(Object(input), "budgetStep"));
    expect(numbers).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(run.result).toMatchObject({ best: { step: 8 }, stoppedBy: "patience", steps: 10 });
    expect(inputsOf(run, "saveAdapter")).toHaveLength(1);
    expect(ofType(run.told, "phase")).toEqual([]);
  });

  it("takes the last adapter where none was evaluated since", async () => {
    chosen.training = { ...plain, bestFrom: 11 };
    const { result, out } = await runOf({ devLossAt: (step) => step }, { evalEvery: 1 });
    expect(result).toMatchObject({ best: { step: 10 }, steps: 10 });
    expect(savedNumbers(join(out, "adapter"))).toBe(numbersAt(out, 10));
  });

  it("gives other methods no such step", async () => {
    chosen.training = plain;
    const run = await runOf();
    expect(inputsOf(run, "weightsStep").some((input) => Reflect.has(Object(input), "budgetStep"))).toBe(false);
  });
});

describe("a program that owns the loop", () => {
  it("makes the very operations of train, phase by phase", async () => {
    const run = await runOf({}, { evalEvery: 100, checkpointEvery: 100 });
    const backend = createFakeTraining();
    const files = { train: join(run.out, "data", "train.jsonl"), dev: join(run.out, "data", "dev.jsonl") };
    const method = resolveMethod(smallGraph, run.spec.method);
    const data = { files, format: "plain", devSource: "test" } as const;
    const trainer = await createTrainer({ backend, adapter: "trained", method, settings: run.spec.train, ...data });
    await expect(trainer.nextPhase()).rejects.toThrow(/phase search has 4 of 4 steps left/);
    do {
      const { search, start: first } = trainer.phase;
      for (const batch of trainer.batches()) {
        await trainer.weightsStep(batch);
        if (search === null) continue;
        await trainer.activationStep(trainer.nextDevBatch());
        if ((trainer.step - first) % (search.pruneEvery ?? 1) === 0) await trainer.pruneCandidates();
      }
    } while (await trainer.nextPhase());
    const figures = await trainer.figures();
    expect(figures.map(({ step, kind }) => `${kind} ${step}`)).toEqual([
      ...[1, 2, 3, 4].flatMap((step) => [`weights ${step}`, `activation ${step}`]),
      ...[5, 6, 7, 8, 9, 10].map((step) => `weights ${step}`),
    ]);
    const folder = join(await temporaryFolder(), "state");
    await trainer.saveState(folder);
    await trainer.close();
    expect(savedNumbers(folder)).toBe(numbersAt(run.out, 10));
  });
});
