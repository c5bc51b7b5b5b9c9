import { describe, expect, it, vi } from "vitest";
import { dryRun } from "../../../ts/train/dry-run.js";
import { createFakeTraining } from "../../support/fake-training.js";
import { smallGraph, specWith } from "../../support/fine-tuning.js";

/** The estimate of a run whose operations take these seconds, the first of each kind ten times as long. */
const estimateOf = async (train: object, seconds: Readonly<Record<string, number>>) => {
  let now = 0;
  vi.spyOn(performance, "now").mockImplementation(() => now);
  const seen = new Set<string>();
  const pass = (name: string): void => {
    now += 1000 * (seconds[name] ?? 0) * (seen.has(name) ? 1 : 10);
    seen.add(name);
  };
  const dataLoss = () => {
    now += 1000 * (seconds["dataLoss"] ?? 0);
    return { nll: 1, answerTokens: 1, routing: null };
  };
  const backend = createFakeTraining({
    before: pass,
    handlers: { dataLoss, trialStep: () => ({ usedBytes: 0, freeBytes: null }) },
  });
  const session = { device: "cpu", dtype: "float32", attention: "eager" };
  const estimate = await dryRun({ backend, graph: smallGraph, spec: await specWith(train), vocabSize: 64, session });
  return { estimate, calls: backend.calls.map(({ name }) => name) };
};

describe("the time of a run", () => {
  // Rows of 25 tokens, 8 a step: 200 tokens in the mean, where the fake's figures tell 400.
  it("is that of a mean step, with as much of a step on Θ as it has, and of the evaluations", async () => {
    const train = { maxSteps: 10, evalEvery: 4, activationEvery: 4 };
    const { estimate, calls } = await estimateOf(train, { weightsStep: 2, activationStep: 8, dataLoss: 3 });
    expect(estimate.time.step).toBeCloseTo(2 / 2 + 8 / 2 / 4, 9);
    // 16 of 40 dev rows were evaluated; there are three evaluations, at steps 4, 8 and 10.
    expect(estimate.time.evaluation).toBeCloseTo((3 * 40) / 16, 9);
    expect(estimate.time.total).toBeCloseTo(10 * 2 + 3 * 7.5, 9);
    expect(calls.filter((name) => name === "weightsStep")).toHaveLength(2);
  });

  it("has no part of steps on Θ where there are none", async () => {
    const { estimate, calls } = await estimateOf({ maxSteps: 6, activationLearningRate: 0 }, { weightsStep: 2 });
    expect(estimate.time).toEqual({ step: 1, evaluation: 0, total: 6 });
    expect(calls).not.toContain("activationStep");
  });
});
