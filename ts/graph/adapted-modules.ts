import { MiloraError } from "../errors.js";
import { unknownNameMessage } from "../util/did-you-mean.js";
import { moduleNamesOf, type GraphLayer, type ModelGraph } from "./model-graph.js";

/**
 * The graph with only the wanted modules in each layer; all of them where `wanted` is undefined.
 * @throws MiloraError `input/unknown-name` for a module that the model does not have.
 */
export const selectModules = (graph: ModelGraph, wanted: readonly string[] | undefined): ModelGraph => {
  if (wanted === undefined) return graph;
  const known = moduleNamesOf(graph);
  wanted.forEach((name, index) => {
    if (!known.includes(name))
      throw new MiloraError("input/unknown-name", unknownNameMessage("module", name, known), {
        path: `method.modules[${index}]`,
        found: name,
        allowed: known.join(", "),
      });
  });
  const keep = (layer: GraphLayer): GraphLayer => ({
    path: layer.path,
    modules: layer.modules.filter((module) => wanted.includes(module.name)),
  });
  return { ...graph, layers: graph.layers.map(keep).filter((layer) => layer.modules.length > 0) };
};

/** The last components of the adapted modules' paths, in order: what PEFT matches modules by. */
export const targetModules = (graph: ModelGraph): readonly string[] => [
  ...new Set(
    graph.layers.flatMap((layer) => layer.modules.map(({ module }) => module.slice(module.lastIndexOf(".") + 1))),
  ),
];
