import { describe, expect, it } from "vitest";
import { MiloraError } from "../../../ts/errors.js";
import { moduleNamesOf, resolveGraph, type DescribedModel } from "../../../ts/graph/model-graph.js";
import { llamaDescription } from "../../support/graphs.js";

const withLinears = (names: readonly string[]): DescribedModel => ({
  model: "test/other",
  location: "test/other",
  architecture: "OtherForCausalLM",
  hiddenSize: 8,
  numParameters: 1,
  contextLength: null,
  layers: [{ path: "transformer.h.0", linears: names.map((name) => ({ name, inFeatures: 8, outFeatures: 8 })) }],
});

const errorOf = (work: () => unknown): MiloraError => {
  try {
    work();
  } catch (error) {
    if (MiloraError.isInstance(error)) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
};

describe("resolveGraph", () => {
  it("names Llama's modules by their roles, in the paper's order", () => {
    const graph = resolveGraph(llamaDescription({ layers: 2, hidden: 64, ffn: 128 }));
    expect(moduleNamesOf(graph)).toEqual(["q", "k", "v", "o", "gate", "up", "down"]);
  });

  it("takes Phi-3's fused projections as four modules", () => {
    const graph = resolveGraph(
      withLinears(["self_attn.o_proj", "self_attn.qkv_proj", "mlp.gate_up_proj", "mlp.down_proj"]),
    );
    expect(moduleNamesOf(graph)).toEqual(["qkv", "o", "gate_up", "down"]);
  });

  it("refuses another decoder with the list of its linear modules", () => {
    const error = errorOf(() => resolveGraph(withLinears(["attn.c_attn", "mlp.fc1"])));
    expect(error.code).toBe("model/unsupported");
    expect(error.message).toContain("attn.c_attn, mlp.fc1");
  });

  it("takes the modules that the spec names", () => {
    const graph = resolveGraph(withLinears(["attn.c_attn", "mlp.fc1"]), { attention: "attn.c_attn" });
    expect(graph.layers[0]?.modules).toEqual([
      { name: "attention", module: "attn.c_attn", inFeatures: 8, outFeatures: 8 },
    ]);
  });

  it("refuses a named module that no layer has", () => {
    const error = errorOf(() => resolveGraph(withLinears(["attn.c_attn"]), { attention: "attn.q" }));
    expect(error).toMatchObject({ code: "input/unknown-name", path: "method.moduleNames.attention" });
  });
});
