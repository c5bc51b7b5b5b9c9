import { describe, expect, it } from "vitest";
import { blocksOf } from "../../../ts/graph/blocks.js";
import { resolveGraph } from "../../../ts/graph/model-graph.js";
import { resolveMethod } from "../../../ts/methods/registry.js";
import { methodSchema } from "../../../ts/spec/method.js";
import { llama7b } from "../../support/graphs.js";

const graph = resolveGraph(llama7b);
const namesOf = (blocks: readonly string[]) => blocksOf(graph, blocks).layers[31]?.modules.map(({ name }) => name);

describe("the blocks of a graph", () => {
  it("are the parents of o and down, as wide as the hidden states", () => {
    const [layer] = blocksOf(graph).layers;
    expect(layer?.modules).toEqual([
      { name: "attention", module: "self_attn", inFeatures: 4096, outFeatures: 4096 },
      { name: "ffn", module: "mlp", inFeatures: 4096, outFeatures: 4096 },
    ]);
  });

  it("are there once and in the layer's order, however they are asked for", () => {
    expect(namesOf(["ffn", "attention"])).toEqual(["attention", "ffn"]);
    expect(namesOf(["ffn", "ffn"])).toEqual(["ffn"]);
  });

  it.each(["parallel-adapter", "learned-adapter"] as const)("%s counts a block that is named twice once", (kind) => {
    const method = methodSchema.parse({ kind, blocks: ["ffn", "ffn"] });
    expect(resolveMethod(graph, method).count.trainable).toBe(83_886_080 / 2);
  });
});
