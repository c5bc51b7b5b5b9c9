import { describe, expect, it } from "vitest";
import { resolveGraph } from "../../../ts/graph/model-graph.js";
import { resolveMethod } from "../../../ts/methods/registry.js";
import { exportedExperts, peftLoraConfig, planExport, planFromLora } from "../../../ts/methods/upcycling.js";
import { miloraAdapterConfig, type MiloraAdapterConfig } from "../../../ts/spec/adapter-config.js";
import { miloraMethod, policySchema } from "../../../ts/spec/adapters/milora.js";
import { methodSchema, type MethodInput } from "../../../ts/spec/method.js";
import { llamaDescription } from "../../support/graphs.js";

const graph = resolveGraph(llamaDescription({ layers: 2, hidden: 8, ffn: 16 }));
const loraOf = (fields: object) => peftLoraConfig.parse({ peft_type: "LORA", r: 8, lora_alpha: 16, ...fields });
const milora = (fields: object = {}) => miloraMethod.parse({ kind: "milora", topK: 1, ...fields });
const configOf = (method: MethodInput): MiloraAdapterConfig =>
  miloraAdapterConfig.parse(resolveMethod(graph, methodSchema.parse(method)).config);

describe("a plan from a LoRA adapter", () => {
  it("takes its modules, ranks and scales", () => {
    const lora = loraOf({ target_modules: ["q_proj", "down_proj"], rank_pattern: { down_proj: 4 } });
    const plan = planFromLora(graph, lora, milora({ topK: 2 }));
    expect(plan.layers[1]?.experts.map(({ name, rank, alpha }) => [name, rank, alpha])).toEqual([
      ["q", 8, 16],
      ["down", 4, 16],
    ]);
    expect(plan.target_modules).toEqual(["q_proj", "down_proj"]);
  });

  it("makes experts as much stronger as fewer of them are active, and an export takes it back", () => {
    const lora = loraOf({ target_modules: ["q_proj", "k_proj", "v_proj", "o_proj"] });
    const alphas = (method: object) => planFromLora(graph, lora, milora(method)).layers[0]?.experts[0]?.alpha;
    expect(alphas({ topK: 1 })).toBe(64);
    expect(alphas({ topK: 3 })).toBeCloseTo((16 * 4) / 3, 12);
    expect(alphas({ topK: 1, gate: "probability" })).toBe(16);
    expect(alphas({ topK: 1, policy: { kind: "all" } })).toBe(16);
    const plan = planFromLora(graph, lora, milora({ topK: 3 }));
    const kept = (policy: object) => planExport(plan, exportedExperts(plan, policySchema.parse(policy)));
    expect(kept({ kind: "all" }).lora_alpha).toBeCloseTo(16, 12);
    expect(kept({ kind: "fixed", layers: { "0-1": ["q"] } }).lora_alpha).toBeCloseTo(64, 12);
  });

  it("keeps the scale of rank-stabilised LoRA", () => {
    const plan = planFromLora(graph, loraOf({ target_modules: ["q_proj"], use_rslora: true }), milora());
    const [expert] = plan.layers[0]?.experts ?? [];
    expect((expert?.alpha ?? 0) / (expert?.rank ?? 1)).toBeCloseTo(16 / Math.sqrt(8), 12);
  });

  it("reads targets that are a pattern", () => {
    const plan = planFromLora(graph, loraOf({ target_modules: ".*\\.0\\..*_proj" }), milora({ topK: 3 }));
    expect(plan.layers.map(({ path }) => path)).toEqual(["model.layers.0"]);
  });

  it("refuses an adapter without any of the model's modules, and more experts than there are", () => {
    expect(() => planFromLora(graph, loraOf({ target_modules: ["c_attn"] }), milora())).toThrow(/has no module/);
    expect(() => planFromLora(graph, loraOf({ target_modules: ["q_proj"] }), milora({ topK: 2 }))).toThrow(
      /method\.topK: found 2/,
    );
  });
});

describe("a plain LoRA plan from a MiLoRA adapter", () => {
  it("holds the experts of a fixed policy by their full paths", () => {
    const config = configOf({ kind: "milora", policy: { kind: "fixed", layers: { "0": ["q"], "1": ["q", "up"] } } });
    const plan = planExport(config, exportedExperts(config));
    expect(plan.target_modules).toEqual([
      "model.layers.0.self_attn.q_proj",
      "model.layers.1.self_attn.q_proj",
      "model.layers.1.mlp.up_proj",
    ]);
  });

  it("holds everything where k is the number of experts and gates are 1", () => {
    const config = configOf({ kind: "milora", topK: 7, gate: "none", ranks: { down: 2 } });
    const plan = planExport(config, exportedExperts(config));
    expect(plan.target_modules).toHaveLength(14);
    expect(plan.rank_pattern).toEqual({ "model.layers.0.mlp.down_proj": 2, "model.layers.1.mlp.down_proj": 2 });
  });

  it("is refused where the prompt decides, until a policy is named, and over DoRA", () => {
    const config = configOf({ kind: "milora" });
    expect(() => exportedExperts(config)).toThrow(/depends on the prompt/);
    expect(exportedExperts(config, { kind: "all" })["model.layers.0"]).toHaveLength(7);
    expect(() => exportedExperts(configOf({ kind: "midora", policy: { kind: "all" } }))).toThrow(/MiDoRA/);
  });
});
