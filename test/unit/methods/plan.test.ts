import { describe, expect, it } from "vitest";
import { resolveGraph } from "../../../ts/graph/model-graph.js";
import { resolveMethod } from "../../../ts/methods/registry.js";
import { loraAdapterConfig, miloraAdapterConfig } from "../../../ts/spec/adapter-config.js";
import { methodSchema } from "../../../ts/spec/method.js";
import { llamaDescription } from "../../support/graphs.js";

const graph = resolveGraph(llamaDescription({ layers: 2, hidden: 64, ffn: 128, keyValue: 32 }));

describe("plan", () => {
  it("is a MiLoRA adapter config with every expert's path and shape", () => {
    const { config } = resolveMethod(graph, methodSchema.parse({ kind: "milora", rank: 4, topK: 2 }));
    const plan = miloraAdapterConfig.parse(config);
    expect(plan).toMatchObject({ r: 4, lora_alpha: 4, top_k: 2, hidden_size: 64, router_input: "normalized" });
    expect(plan.target_modules).toEqual(["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]);
    expect(plan.layers[1]).toMatchObject({ path: "model.layers.1" });
    expect(plan.layers[1]?.experts[2]).toEqual({
      name: "v",
      module: "self_attn.v_proj",
      in_features: 64,
      out_features: 32,
      rank: 4,
      alpha: 4,
    });
  });

  it("is PEFT's own LoRA config for LoRA", () => {
    const { config } = resolveMethod(graph, methodSchema.parse({ kind: "lora", alpha: 16, modules: ["q", "down"] }));
    expect(loraAdapterConfig.parse(config)).toMatchObject({
      peft_type: "LORA",
      lora_alpha: 16,
      target_modules: ["q_proj", "down_proj"],
    });
  });

  it("refuses more active experts than a layer has", () => {
    const method = methodSchema.parse({ kind: "milora", topK: 3, modules: ["q", "v"] });
    expect(() => resolveMethod(graph, method)).toThrow(/method\.topK: found 3.*has 2 adapted modules; allowed 1 to 2/);
  });

  it("refuses an unknown module and says what was meant", () => {
    const method = methodSchema.parse({ kind: "lora", modules: ["q", "dwn"] });
    expect(() => resolveMethod(graph, method)).toThrow(/Unknown module "dwn": did you mean "down"\?/);
  });
});
