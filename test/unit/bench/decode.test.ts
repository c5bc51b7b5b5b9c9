import { resolve } from "node:path";
import { expect, test } from "vitest";
import { benchDecode, type BenchDecodeOptions } from "../../../ts/bench/decode.js";
import { resolveGraph } from "../../../ts/graph/model-graph.js";
import { createFakeBackend } from "../../support/fake-backend.js";
import { llamaDescription } from "../../support/graphs.js";

const graphOf = () => Promise.resolve(resolveGraph(llamaDescription({ layers: 2, hidden: 64, ffn: 96 })));

const options = (changes: Partial<BenchDecodeOptions> = {}) => {
  const backend = createFakeBackend({ benchDecode: () => ({ rows: [], slowBecause: null }) });
  const sizes = { promptTokens: 8, newTokens: 4, rounds: 2, rowSeconds: 60 };
  const measured = { methods: ["milora"], topK: [1, 3, 7], beams: [1, 3], peak: false, ...sizes, ...changes };
  return { ...measured, backend, graphOf };
};

test("milora is a row for each k, the base is there in any case, dora-uncached is dora with another switch", async () => {
  const given = options({ methods: ["base", "dora", "dora-uncached", "moelora", "milora", "midora"] });
  await benchDecode(given);
  const input = given.backend.calls[0]?.input;
  expect(input).toMatchObject({ beams: [1, 3], peer: false, peak: false, promptTokens: 8, newTokens: 4, rounds: 2 });
  expect(input).toMatchObject({
    methods: [
      { method: "dora", topK: null, cachesNorms: true, config: { peft_type: "LORA", use_dora: true } },
      { method: "dora-uncached", topK: null, cachesNorms: false, config: { peft_type: "LORA", use_dora: true } },
      { method: "moelora", topK: null, config: { peft_type: "MILORA_MOELORA" } },
      { method: "milora", topK: 1, config: { peft_type: "MILORA_PROMPT", top_k: 1 } },
      { method: "milora", topK: 3, config: { top_k: 3 } },
      { method: "milora", topK: 7, config: { top_k: 7 } },
      { method: "midora", topK: 3, config: { peft_type: "MILORA_PROMPT", expert: "dora", top_k: 3 } },
    ],
  });
});

test.each([true, undefined])("compile: %s goes along", async (compile) => {
  const given = options({ methods: [], compile });
  await benchDecode(given);
  expect(given.backend.calls[0]?.input).toMatchObject({ compile });
});

test("the peer and trained adapters go along", async () => {
  const given = options({ methods: [], adapters: ["runs/a/adapter"], peer: "hf" });
  await benchDecode(given);
  expect(given.backend.calls[0]?.input).toMatchObject({
    methods: [],
    adapters: [resolve("runs/a/adapter")],
    peer: true,
  });
});

test.each([
  { methods: ["milora", "doar"], topK: [3] },
  { methods: ["milora"], topK: [8] },
])("$methods with k = $topK is refused before anything is measured", async (changes) => {
  const given = options(changes);
  await expect(benchDecode(given)).rejects.toMatchObject({ code: "input/invalid-spec" });
  expect(given.backend.calls).toEqual([]);
});
