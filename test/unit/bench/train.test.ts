import { expect, test } from "vitest";
import { benchTrain, lossCurves } from "../../../ts/bench/train.js";
import { resolveGraph } from "../../../ts/graph/model-graph.js";
import { createFakeBackend } from "../../support/fake-backend.js";
import { llamaDescription } from "../../support/graphs.js";

const graphOf = () => Promise.resolve(resolveGraph(llamaDescription({ layers: 2, hidden: 64, ffn: 96 })));

const row = {
  method: "lora",
  engine: "hf-trainer" as const,
  compiled: false,
  attention: "sdpa",
  tokensPerRow: 133,
  tokensPerSecond: 310,
  ratioToPeer: 1,
  ratioToEagerPeer: 0.9,
  stepToLora: null,
  peakBytes: 4,
};

test("each length is one measurement, of the methods' plans against the plan of LoRA", async () => {
  const backend = createFakeBackend({ benchTrain: ({ tokens }) => ({ rows: [{ ...row, tokensPerRow: tokens }] }) });
  const options = {
    backend,
    graphOf,
    methods: ["milora", "adalora"],
    tokens: [133, 32],
    batch: 16,
    rounds: 5,
    compile: true,
  };
  const rows = await benchTrain(options);
  expect(rows.map(({ tokensPerRow }) => tokensPerRow)).toEqual([133, 32]);
  expect(backend.calls.map(({ name }) => name)).toEqual(["benchTrain", "benchTrain"]);
  expect(backend.calls[0]?.input).toMatchObject({
    tokens: 133,
    batch: 16,
    rounds: 5,
    compile: true,
    peer: { peft_type: "LORA", r: 32 },
    methods: [
      { method: "milora", config: { peft_type: "MILORA_PROMPT", r: 32 }, balance: 0.01, scheduled: false },
      { method: "adalora", config: { peft_type: "ADALORA" }, balance: 0, scheduled: true },
    ],
  });
});

test("a method that is not there is refused before anything is measured", async () => {
  const backend = createFakeBackend();
  const options = { backend, graphOf, methods: ["milora", "lorra"], tokens: [8], batch: 2, rounds: 1 };
  await expect(benchTrain(options)).rejects.toMatchObject({ code: "input/invalid-spec" });
  expect(backend.calls).toEqual([]);
});

test("two loss curves are compared step by step", async () => {
  const backend = createFakeBackend({ trainCurves: () => ({ milora: [3, 2.5, 2], hfTrainer: [3, 2.25, 2.125] }) });
  const curves = await lossCurves({ backend, graphOf, tokens: 32, batch: 16, steps: 3 });
  expect(curves.maxDifference).toBe(0.25);
  const missing = createFakeBackend({ trainCurves: () => ({ milora: [3, 2.5], hfTrainer: [3] }) });
  expect((await lossCurves({ backend: missing, graphOf, tokens: 32, batch: 16, steps: 2 })).maxDifference).toBeNaN();
});
