import { describe, expect, it } from "vitest";
import { resolveGraph } from "../../../ts/graph/model-graph.js";
import { resolveMethod } from "../../../ts/methods/registry.js";
import { miloraAdapterConfig } from "../../../ts/spec/adapter-config.js";
import { methodSchema } from "../../../ts/spec/method.js";
import { parseWith } from "../../../ts/spec/parse.js";
import { withPreset } from "../../../ts/spec/presets.js";
import { llama7b, llamaDescription } from "../../support/graphs.js";

const graph = resolveGraph(llamaDescription({ layers: 4, hidden: 8, ffn: 16 }));
const resolved = (method: object, on = graph) =>
  resolveMethod(on, parseWith(methodSchema, withPreset(method), { what: "The method" }));
const planOf = (method: object) => miloraAdapterConfig.parse(resolved(method).config);

describe("the paper's ablations", () => {
  it.each([
    ["milora-1", { pooler: "average" }, ["rational", "rational", "rational", "rational"]],
    ["milora-2", { pooler: "last-token" }, ["rational", "rational", "rational", "rational"]],
    ["milora-3", {}, ["gelu", "gelu", "gelu", "gelu"]],
    ["milora-4", {}, ["relu", "relu", "gelu", "gelu"]],
    ["milora-5", {}, ["gelu", "gelu", "relu", "relu"]],
  ])("%s", (preset, fields, activations) => {
    const plan = planOf({ kind: "milora", preset });
    expect(plan).toMatchObject(fields);
    expect(plan.layers.map(({ activation }) => activation)).toEqual(activations);
  });

  it("yield to what the spec says itself", () => {
    expect(planOf({ kind: "milora", preset: "milora-1", pooler: "max" }).pooler).toBe("max");
  });

  it("have no activation steps where no activation is learned", () => {
    expect(resolved({ kind: "milora", preset: "milora-3" }).capabilities.bilevel).toBe(false);
    expect(resolved({ kind: "milora" }).capabilities.bilevel).toBe(true);
  });

  it.each([
    [[{ upTo: 0.5, activation: "relu" }]],
    [
      [
        { upTo: 1, activation: "relu" },
        { upTo: 0.5, activation: "gelu" },
      ],
    ],
  ])("refuse shares that do not rise to 1", (activation) => {
    expect(() => planOf({ kind: "milora", activation })).toThrow(/rising shares/);
  });
});

describe("ranks by module", () => {
  it("give each expert its rank and a scale of 1", () => {
    const plan = planOf({ kind: "milora", rank: 4, ranks: { down: 2 } });
    expect(plan.layers[0]?.experts.map(({ name, rank, alpha }) => [name, rank, alpha]).slice(-2)).toEqual([
      ["up", 4, 4],
      ["down", 2, 2],
    ]);
  });

  it("are PEFT's patterns for LoRA", () => {
    expect(resolved({ kind: "lora", rank: 4, ranks: { down: 2 } }).config).toMatchObject({
      rank_pattern: { "mlp.down_proj": 2 },
      alpha_pattern: { "mlp.down_proj": 2 },
    });
  });
});

describe("MiDoRA", () => {
  it("has DoRA's magnitudes beside LoRA's modules, and the same routers", () => {
    const { count, config } = resolved({ kind: "midora" }, resolveGraph(llama7b));
    expect(config).toMatchObject({ peft_type: "MILORA_PROMPT", expert: "dora" });
    expect(count.adapter).toBe(81_313_792);
    expect(count.routers).toBe(917_504 + 131_072 + 384);
  });
});

describe("policies", () => {
  it("without learning have no routers, no balance loss and no activation steps", () => {
    const { count, balance, capabilities, config } = resolved({ kind: "milora", policy: { kind: "all" } });
    expect([count.routers, balance, capabilities.bilevel]).toEqual([0, 0, false]);
    expect(count.activated.min).toBe(count.adapter);
    expect(config).toMatchObject({ policy: "fixed" });
  });

  it("tell the plan each layer's experts", () => {
    const plan = planOf({ kind: "milora", policy: { kind: "fixed", layers: { "1-2": ["v"] } } });
    expect(plan.layers.map(({ chosen }) => chosen)).toEqual([[], ["v"], ["v"], []]);
  });
});
