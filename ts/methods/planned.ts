import { targetModules } from "../graph/adapted-modules.js";
import type { GraphModule, ModelGraph } from "../graph/model-graph.js";
import { countByModule, type ParameterCount } from "../graph/parameter-count.js";
import { adapterFormatVersion } from "../spec/adapters/planned.js";

/** The fields that every config of a method of ours begins with. */
export const headerOf = (graph: ModelGraph) => ({
  task_type: "CAUSAL_LM" as const,
  base_model_name_or_path: graph.location,
  inference_mode: true,
  format_version: adapterFormatVersion,
  requires: "milora" as const,
});

/** A module as a config names it. */
export const placeOf = ({ name, module, inFeatures, outFeatures }: GraphModule) => ({
  name,
  module,
  in_features: inFeatures,
  out_features: outFeatures,
});

/** The end of a config: every layer with what `place` says of each of its modules. */
export const bodyOf = <Place>(graph: ModelGraph, place: (module: GraphModule, layer: number) => Place) => ({
  target_modules: [...targetModules(graph)],
  hidden_size: graph.hiddenSize,
  layers: graph.layers.map(({ path, modules }, layer) => ({
    path,
    modules: modules.map((module) => place(module, layer)),
  })),
});

/** The count of a method without routers: all that it adds is active for every token. */
export const countOf = (graph: ModelGraph, size: (module: GraphModule) => number): ParameterCount => {
  const modules = countByModule(graph, size);
  const adapter = modules.reduce((total, { parameters }) => total + parameters, 0);
  const activated = { min: adapter, mean: adapter, max: adapter };
  return {
    trainable: adapter,
    adapter,
    routers: 0,
    routerParts: {},
    adapterAndProjection: adapter,
    activated,
    activatedWithProjection: activated,
    modules,
  };
};
