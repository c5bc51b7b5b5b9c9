import { MiloraError } from "../errors.js";
import type { Policy } from "../spec/adapters/milora.js";
import { unknownNameMessage } from "../util/did-you-mean.js";
import { mixSeed, shuffled } from "../util/random.js";
import type { GraphLayer, ModelGraph } from "./model-graph.js";

/** For each layer the experts that are always active, in the layer's order; null where its router decides. */
export type PolicyTable = readonly (readonly string[] | null)[];

const names = (layer: GraphLayer): readonly string[] => layer.modules.map(({ name }) => name);

/** The layers of `"3"` or `"0-9"`, ends included. */
const layersOf = (range: string, graph: ModelGraph): readonly number[] => {
  const [first = 0, last = first] = range.split("-").map(Number);
  if (last >= graph.layers.length || first > last)
    throw new MiloraError(
      "input/invalid-spec",
      `method.policy.layers["${range}"]: found layers ${first} to ${last}; ${graph.model} has layers 0 to ${graph.layers.length - 1}.`,
      { path: `method.policy.layers.${range}`, found: range, allowed: `0 to ${graph.layers.length - 1}` },
    );
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
};

const checkExperts = (range: string, experts: readonly string[], layer: GraphLayer): void => {
  for (const expert of experts)
    if (!names(layer).includes(expert))
      throw new MiloraError(
        "input/unknown-name",
        unknownNameMessage(`expert of ${layer.path}`, expert, names(layer)),
        {
          path: `method.policy.layers.${range}`,
          found: expert,
          allowed: names(layer).join(", "),
        },
      );
};

const fixedTable = (layers: Readonly<Record<string, readonly string[]>>, graph: ModelGraph): PolicyTable => {
  const chosen = new Map<number, readonly string[]>();
  for (const [range, experts] of Object.entries(layers))
    for (const index of layersOf(range, graph)) {
      if (chosen.has(index))
        throw new MiloraError("input/invalid-spec", `method.policy.layers names layer ${index} twice.`, {
          path: `method.policy.layers.${range}`,
          found: range,
          allowed: "each layer in one range",
        });
      const layer = graph.layers[index];
      if (layer !== undefined) checkExperts(range, experts, layer);
      chosen.set(index, experts);
    }
  return graph.layers.map((layer, index) => names(layer).filter((name) => chosen.get(index)?.includes(name) ?? false));
};

/**
 * Resolves a policy against a model: what the plan says of each layer.
 * @throws MiloraError `input/invalid-spec` for a layer that is not there or named twice, `input/unknown-name` for an
 * expert that a layer does not have.
 */
export const resolvePolicy = (policy: Policy, graph: ModelGraph, topK: number): PolicyTable => {
  switch (policy.kind) {
    case "learned":
      return graph.layers.map(() => null);
    case "all":
      return graph.layers.map(names);
    case "random":
      return graph.layers.map((layer, index) => {
        const drawn = shuffled(names(layer), mixSeed(policy.seed, "policy", index)).slice(0, topK);
        return names(layer).filter((name) => drawn.includes(name));
      });
    case "fixed":
      return fixedTable(policy.layers, graph);
  }
};
