import { describe, expect, it } from "vitest";
import { resolveGraph } from "../../../ts/graph/model-graph.js";
import { resolveMethod } from "../../../ts/methods/registry.js";
import { methodSchema, type MethodInput } from "../../../ts/spec/method.js";
import { withPreset } from "../../../ts/spec/presets.js";
import { llama7b, llamaDescription } from "../../support/graphs.js";
import { errorOf } from "../../support/thrown.js";

const resolved = (method: MethodInput, described = llama7b) =>
  resolveMethod(resolveGraph(described), methodSchema.parse(method));
const countOf = (method: MethodInput) => resolved(method).count;

/** SmolLM2-135M's sizes. */
const small = llamaDescription({ layers: 30, hidden: 576, ffn: 1536, keyValue: 192 });

describe("the baselines' parameters on Llama-2 7B (the paper's figures)", () => {
  it.each([
    ["dora", 81_313_792],
    ["moelora", 89_063_424],
    ["parallel-adapter", 83_886_080],
    ["learned-adapter", 83_886_080],
    ["p-tuning-v2", 84_213_760],
    ["iapt", 83_927_424],
    ["bitfit", 87_046_144],
    ["ia3", 78_655_488],
    ["ssp", 79_953_920],
  ] as const)("%s trains %i", (kind, trainable) => {
    expect(countOf({ kind }).trainable).toBe(trainable);
  });

  it("counts AdaLoRA before pruning, with and without PEFT's constant of each module", () => {
    const { trainable, adapter, activated, note } = countOf({ kind: "adalora" });
    expect([trainable, adapter]).toEqual([159_922_400 - 224, 159_922_400]);
    expect(activated.mean).toBe(79_953_920 + 32 * 7 * 32);
    expect(note).toContain("Before pruning");
  });

  it("counts MOELoRA's experts apart from its routers, and half of them as activated", () => {
    const { adapter, routers, activated, activatedWithProjection, note } = countOf({ kind: "moelora" });
    expect([adapter, routers]).toEqual([79_953_920, 9_109_504]);
    expect(activated.mean).toBe(79_953_920 / 2);
    expect(activatedWithProjection.mean).toBe(79_953_920 / 2 + 9_109_504);
    expect(note).toContain("4096 inputs for every router: 87,293,952");
  });
});

describe("the preset small", () => {
  it.each([
    "milora",
    "midora",
    "lora",
    "dora",
    "moelora",
    "parallel-adapter",
    "learned-adapter",
    "p-tuning-v2",
    "iapt",
    "bitfit",
    "ia3",
    "ssp",
  ])("gives %s about 2.4 million parameters on a model of 135 million", (kind) => {
    const method = methodSchema.parse(withPreset({ kind, preset: "small" }));
    const { adapter } = resolveMethod(resolveGraph(small), method).count;
    expect(adapter / 2_442_240).toBeGreaterThan(0.97);
    expect(adapter / 2_442_240).toBeLessThan(1.07);
  });
});

describe("what a method can't do", () => {
  it.each<readonly [MethodInput, string, RegExp]>([
    [{ kind: "adalora", initialRank: 8, targetRank: 8 }, "method.targetRank", /found 8; allowed: 1 to 7/],
    [{ kind: "moelora", rank: 12 }, "method.rank", /a multiple of method\.experts, 8/],
    [{ kind: "moelora", topK: 9 }, "method.topK", /1 to method\.experts, 8/],
    [{ kind: "ssp", budget: 10 }, "method.budget", /the smallest candidate has/],
    [{ kind: "ssp", budgetRank: 2000 }, "method.budgetRank", /all 448 together have/],
    [{ kind: "p-tuning-v2", tokens: 4096 }, "method.tokens", /found 4096, .*; allowed: 1 to 4095/],
    [{ kind: "iapt", tokens: 5000 }, "method.tokens", /room for 4096 tokens/],
  ])("%o is refused at %s", (method, path, message) => {
    const error = errorOf(() => resolved(method), "input/invalid-spec");
    expect(error.path).toBe(path);
    expect(error.message).toMatch(message);
  });

  it("AdaLoRA needs a step to prune in", () => {
    const { training } = resolved({ kind: "adalora", initialShare: 0.6, finalShare: 0.5 });
    expect(errorOf(() => training(10), "input/invalid-spec").message).toMatch(/no step to prune in: of 10/);
  });

  it("soft tokens fit any context whose length is not known", () => {
    expect(resolved({ kind: "p-tuning-v2", tokens: 4095 }).count.trainable).toBe(32 * 640 * (4095 + 4096));
    const unknown = { ...llama7b, contextLength: null };
    expect(resolved({ kind: "iapt", tokens: 5000 }, unknown).config).toMatchObject({ tokens: 5000 });
  });

  it("a block that the modules do not tell is named", () => {
    const described = { ...llama7b, layers: llama7b.layers.slice(0, 1) };
    const graph = resolveGraph(described, { q: "self_attn.q_proj" });
    const method = methodSchema.parse({ kind: "iapt", moduleNames: { q: "self_attn.q_proj" } });
    expect(errorOf(() => resolveMethod(graph, method), "model/unsupported").message).toMatch(
      /do not tell where its attention block is/,
    );
  });
});

describe("how trainings run", () => {
  it("a search is followed by the training of what it found, together as long as asked for", () => {
    for (const kind of ["learned-adapter", "ssp"] as const) {
      const { phases, bestFrom } = resolved({ kind }).training(100);
      expect(phases.map(({ name }) => name)).toEqual(["search", "train"]);
      expect(phases.reduce((total, { steps }) => total + steps, 0)).toBe(100);
      expect(bestFrom).toBe(phases[0]?.steps);
    }
    // Thirteen architectures: after twelve prunings one is left before the search ends.
    const [search] = resolved({ kind: "learned-adapter" }).training(130).phases;
    expect(12 * (search?.search?.pruneEvery ?? Infinity)).toBeLessThanOrEqual(search?.steps ?? 0);
  });

  it("AdaLoRA's schedule is PEFT's, and nothing is best before its budget is reached", () => {
    const { config, scheduled, bestFrom } = resolved({ kind: "adalora" }).training(100);
    expect(config).toMatchObject({ tinit: 10, tfinal: 30, deltaT: 10, total_step: 100, init_r: 64, target_r: 32 });
    expect([scheduled, bestFrom]).toEqual([true, 70]);
  });
});
