import { describe, expect, it } from "vitest";
import { resolveGraph } from "../../../ts/graph/model-graph.js";
import { resolveMethod } from "../../../ts/methods/registry.js";
import { methodSchema, type MethodInput } from "../../../ts/spec/method.js";
import { llama7b } from "../../support/graphs.js";

const countOf = (method: MethodInput) => resolveMethod(resolveGraph(llama7b), methodSchema.parse(method)).count;

describe("parameters on Llama-2 7B (the paper's figures)", () => {
  it("counts LoRA of rank 32", () => {
    expect(countOf({ kind: "lora" })).toMatchObject({ trainable: 79_953_920, adapter: 79_953_920, routers: 0 });
  });

  it("counts MiLoRA's experts, its projections W_r, and all that trains", () => {
    const count = countOf({ kind: "milora" });
    expect(count.adapter).toBe(79_953_920);
    expect(count.adapterAndProjection).toBe(80_871_424);
    expect(count.trainable).toBe(81_002_880);
    expect(count.routerParts).toEqual({ projection: 917_504, pooler: 131_072, activation: 384 });
  });

  it("counts what k = 3 activates: three attention experts, a uniform mean, three FFN experts a layer", () => {
    const { activated } = countOf({ kind: "milora", topK: 3 });
    expect(activated).toEqual({ min: 25_165_824, mean: Math.round((79_953_920 * 3) / 7), max: 46_399_488 });
  });

  it("counts what k = 1 activates with W_r", () => {
    const { activatedWithProjection } = countOf({ kind: "milora", topK: 1 });
    expect(activatedWithProjection.mean).toBe(Math.round(79_953_920 / 7) + 917_504);
    expect(activatedWithProjection.max).toBe(15_466_496 + 917_504);
  });

  it("activates all of MiLoRA at k = 7", () => {
    const { activated, adapter } = countOf({ kind: "milora", topK: 7 });
    expect(activated).toEqual({ min: adapter, mean: adapter, max: adapter });
  });

  it("counts a subset of modules", () => {
    expect(countOf({ kind: "lora", modules: ["q", "v"], rank: 8 }).trainable).toBe(32 * 2 * 8 * (4096 + 4096));
  });
});
