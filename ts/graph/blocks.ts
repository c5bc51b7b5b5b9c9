import { MiloraError } from "../errors.js";
import type { GraphModule, ModelGraph } from "./model-graph.js";

/** The blocks of a decoder layer, and the modules each of whose parents is that block. */
const outputs: Readonly<Record<string, readonly string[]>> = { attention: ["o"], ffn: ["down"] };

export const blockNames = ["attention", "ffn"] as const;

const parentOf = (module: string): string => module.slice(0, Math.max(0, module.lastIndexOf(".")));

/**
 * The graph with blocks (attention, FFN) in place of linear modules, each as wide as the hidden states.
 * @throws MiloraError `model/unsupported` where the modules do not tell where the blocks are.
 */
export const blocksOf = (graph: ModelGraph, wanted: readonly string[] = blockNames): ModelGraph => ({
  ...graph,
  layers: graph.layers.map((layer) => ({
    path: layer.path,
    modules: blockNames
      .filter((name) => wanted.includes(name))
      .map((name): GraphModule => {
        const output = layer.modules.find((module) => outputs[name]?.includes(module.name));
        const module = output === undefined ? "" : parentOf(output.module);
        if (module === "")
          throw new MiloraError(
            "model/unsupported",
            `The modules of ${layer.path} do not tell where its ${name} block is: none of them is called ${outputs[name]?.join(" or ") ?? name}. Name it in method.moduleNames.`,
            {
              path: "method.moduleNames",
              found: layer.modules.map((entry) => entry.name).join(", "),
              allowed: outputs[name]?.join(", "),
            },
          );
        return { name, module, inFeatures: graph.hiddenSize, outFeatures: graph.hiddenSize };
      }),
  })),
});
