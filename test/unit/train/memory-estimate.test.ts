import { describe, expect, it } from "vitest";
import { estimateMemory, type MemoryInput } from "../../../ts/train/memory-estimate.js";
import { smallGraph } from "../../support/fine-tuning.js";

const input: MemoryInput = {
  graph: { ...smallGraph, numParameters: 10_000 },
  dtype: "float32",
  quantization: "none",
  trainable: 100,
  vocabSize: 50,
  batch: { rows: 2, length: 10, answerTokens: 6 },
  gradientCheckpointing: false,
  eager: false,
};

// Two layers of hidden size 16 and FFN 32: q k v o are 16 → 16, gate and up 16 → 32, down 32 → 16.
const aToken = 4 * 32 + 3 * 48 + 6 * 16;
const weights = 2 * (4 * 16 * 16 + 3 * 16 * 32);

describe("the memory of a training", () => {
  it("is the sum of model, what trains, layers and logits", () => {
    const { base, trainables, activations, logits, total } = estimateMemory(input);
    expect({ base, trainables, activations, logits }).toEqual({
      base: 40_000,
      trainables: 1600,
      activations: 2 * 2 * 10 * aToken * 4,
      logits: 6 * 50 * 12,
    });
    expect(total).toBe(base + trainables + activations + logits);
  });

  it("bounds the logits, however many answer tokens there are, by the largest chunk of them", () => {
    const of = (answerTokens: number, vocabSize: number): number =>
      estimateMemory({ ...input, vocabSize, batch: { ...input.batch, answerTokens } }).logits;
    expect(of(3200, 50_000)).toBe(12 * 2 ** 23);
    expect(of(3200, 2 ** 24)).toBe(12 * 2 ** 24);
  });

  it("halves model and layers in bfloat16, but not what trains", () => {
    const [whole, half] = [estimateMemory(input), estimateMemory({ ...input, dtype: "bfloat16" })];
    expect(half.base).toBe(whole.base / 2);
    expect(half.activations).toBe(whole.activations / 2);
    expect(half.trainables).toBe(whole.trainables);
  });

  it("keeps inputs and one layer with gradient checkpointing, and probabilities with eager attention", () => {
    const rows = 2 * 10;
    expect(estimateMemory({ ...input, gradientCheckpointing: true }).activations).toBe(
      4 * (rows * 16 * 2 + rows * aToken),
    );
    expect(estimateMemory({ ...input, eager: true }).activations).toBe(2 * rows * (aToken + 2 * 10) * 4);
  });

  it.each([
    ["nf4", 0.5625],
    ["int8", 1],
  ] as const)("holds the linear modules in %s", (quantization, bytes) => {
    expect(estimateMemory({ ...input, quantization }).base).toBe(40_000 - weights * (4 - bytes));
  });
});
