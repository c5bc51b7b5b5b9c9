import { MiloraError } from "../errors.js";
import { selectModules, targetModules } from "../graph/adapted-modules.js";
import type { ModelGraph } from "../graph/model-graph.js";
import { activatedCount, countByModule, loraSize, type ParameterCount } from "../graph/parameter-count.js";
import { adapterFormatVersion, type MiloraAdapterConfig } from "../spec/adapter-config.js";
import type { MiloraMethod } from "../spec/adapters/milora.js";
import type { MethodDefinition } from "./method.js";

/** Coefficients of the learned rational activation: a_0 … a_6 and b_1 … b_5 (paper, appendix A). */
const rationalCoefficients = 12;

const adaptedGraph = (graph: ModelGraph, method: MiloraMethod): ModelGraph => {
  const adapted = selectModules(graph, method.modules);
  const fewest = Math.min(...adapted.layers.map((layer) => layer.modules.length));
  if (method.topK > fewest)
    throw new MiloraError(
      "input/invalid-spec",
      `method.topK: found ${method.topK}, but a layer of ${graph.model} has ${fewest} adapted modules; allowed 1 to ${fewest}.`,
      { path: "method.topK", found: String(method.topK), allowed: `1 to ${fewest}` },
    );
  return adapted;
};

const plan = (graph: ModelGraph, method: MiloraMethod): MiloraAdapterConfig => {
  const adapted = adaptedGraph(graph, method);
  const alpha = method.alpha ?? method.rank;
  return {
    peft_type: "MILORA_PROMPT",
    task_type: "CAUSAL_LM",
    base_model_name_or_path: graph.location,
    inference_mode: true,
    format_version: adapterFormatVersion,
    requires: "milora",
    r: method.rank,
    lora_alpha: alpha,
    lora_dropout: method.dropout,
    target_modules: [...targetModules(adapted)],
    top_k: method.topK,
    pooler: method.pooler,
    activation: method.activation,
    gate: method.gate,
    router_input: method.routerInput,
    hidden_size: graph.hiddenSize,
    layers: adapted.layers.map((layer) => ({
      path: layer.path,
      experts: layer.modules.map((module) => ({
        name: module.name,
        module: module.module,
        in_features: module.inFeatures,
        out_features: module.outFeatures,
        rank: method.rank,
        alpha,
      })),
    })),
  };
};

const count = (graph: ModelGraph, method: MiloraMethod): ParameterCount => {
  const adapted = adaptedGraph(graph, method);
  const sizes = adapted.layers.map((layer) => layer.modules.map((module) => loraSize(module, method.rank)));
  const adapter = sizes.flat().reduce((total, size) => total + size, 0);
  const projection = adapted.layers.reduce((total, layer) => total + graph.hiddenSize * layer.modules.length, 0);
  const pooler = adapted.layers.length * graph.hiddenSize;
  const activation = adapted.layers.length * rationalCoefficients;
  const activated = activatedCount(sizes, method.topK);
  const routers = projection + pooler + activation;
  return {
    trainable: adapter + routers,
    adapter,
    routers,
    routerParts: { projection, pooler, activation },
    adapterAndProjection: adapter + projection,
    activated,
    activatedWithProjection: {
      min: activated.min + projection,
      mean: activated.mean + projection,
      max: activated.max + projection,
    },
    modules: countByModule(adapted, (module) => loraSize(module, method.rank)),
  };
};

/** MiLoRA (Zhang et al. 2024, arXiv 2410.18035). */
export const milora: MethodDefinition<"milora"> = {
  kind: "milora",
  label: "MiLoRA",
  capabilities: { routed: true, mergeable: false, bilevel: true },
  plan,
  count,
  balance: (method) => method.balance,
};
