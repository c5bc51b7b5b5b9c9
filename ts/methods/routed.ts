import { MiloraError } from "../errors.js";
import { selectModules, targetModules } from "../graph/adapted-modules.js";
import type { GraphModule, ModelGraph } from "../graph/model-graph.js";
import {
  activatedCount,
  countByModule,
  loraSize,
  rationalCoefficients,
  type ParameterCount,
} from "../graph/parameter-count.js";
import { resolvePolicy, type PolicyTable } from "../graph/policy.js";
import type { MiloraAdapterConfig } from "../spec/adapter-config.js";
import type { MidoraMethod, MiloraMethod } from "../spec/adapters/milora.js";
import { headerOf, placeOf } from "./planned.js";
import { rankOf } from "./ranks.js";

/** MiLoRA and MiDoRA: the same routing over other experts. */
type RoutedMethod = MiloraMethod | MidoraMethod;
type ActivationName = MiloraAdapterConfig["layers"][number]["activation"];

interface Resolved {
  readonly graph: ModelGraph;
  readonly table: PolicyTable;
  readonly activations: readonly ActivationName[];
}

const checkTopK = (graph: ModelGraph, { topK }: RoutedMethod): void => {
  const fewest = Math.min(...graph.layers.map((layer) => layer.modules.length));
  if (topK > fewest)
    throw new MiloraError(
      "input/invalid-spec",
      `method.topK: found ${topK}, but a layer of ${graph.model} has ${fewest} adapted modules; allowed 1 to ${fewest}.`,
      { path: "method.topK", found: String(topK), allowed: `1 to ${fewest}` },
    );
};

/** The activation of each layer; entries reach up to their share of the layers, and the last must reach all. */
const activationsOf = ({ activation }: RoutedMethod, layers: number): readonly ActivationName[] => {
  if (typeof activation === "string") return Array.from({ length: layers }, () => activation);
  const rising = activation.every(({ upTo }, index) => index === 0 || upTo > (activation[index - 1]?.upTo ?? 1));
  if (!rising || activation.at(-1)?.upTo !== 1)
    throw new MiloraError(
      "input/invalid-spec",
      `method.activation: found upTo ${activation.map(({ upTo }) => upTo).join(", ")}; allowed are rising shares of the layers that end with 1.`,
      { path: "method.activation", allowed: "rising shares that end with 1" },
    );
  return Array.from({ length: layers }, (_, layer) => {
    const entry = activation.find(({ upTo }) => (layer + 1) / layers <= upTo + 1e-9) ?? activation.at(-1);
    return entry?.activation ?? "rational";
  });
};

const resolve = (whole: ModelGraph, method: RoutedMethod): Resolved => {
  const graph = selectModules(whole, method.modules);
  checkTopK(graph, method);
  return {
    graph,
    table: resolvePolicy(method.policy, graph, method.topK),
    activations: activationsOf(method, graph.layers.length),
  };
};

const isLearned = (method: RoutedMethod): boolean => method.policy.kind === "learned";

export const planRouted = (whole: ModelGraph, method: RoutedMethod): MiloraAdapterConfig => {
  const { graph, table, activations } = resolve(whole, method);
  const experts = (modules: readonly GraphModule[]) =>
    modules.map((module) => {
      const rank = rankOf(method, module.name);
      return { ...placeOf(module), rank, alpha: method.alpha ?? rank };
    });
  return {
    peft_type: "MILORA_PROMPT",
    ...headerOf(graph),
    expert: method.kind === "midora" ? "dora" : "lora",
    policy: isLearned(method) ? "learned" : "fixed",
    r: method.rank,
    lora_alpha: method.alpha ?? method.rank,
    lora_dropout: method.dropout,
    target_modules: [...targetModules(graph)],
    top_k: method.topK,
    pooler: method.pooler,
    gate: method.gate,
    router_input: method.routerInput,
    accumulate: method.accumulate,
    hidden_size: graph.hiddenSize,
    layers: graph.layers.map((layer, index) => ({
      path: layer.path,
      activation: activations[index] ?? "rational",
      chosen: table[index] === null ? null : [...(table[index] ?? [])],
      experts: experts(layer.modules),
    })),
  };
};

/** An expert's own parameters: A and B, and for DoRA one magnitude an output. */
const expertSize = (method: RoutedMethod, module: GraphModule): number =>
  loraSize(module, rankOf(method, module.name)) + (method.kind === "midora" ? module.outFeatures : 0);

const routerParts = ({ graph, activations }: Resolved, method: RoutedMethod): Readonly<Record<string, number>> => {
  const layers = graph.layers.length;
  const projection = graph.layers.reduce((total, layer) => total + graph.hiddenSize * layer.modules.length, 0);
  const pooler = method.pooler === "self-attention" ? layers * graph.hiddenSize : 0;
  const activation = rationalCoefficients * activations.filter((name) => name === "rational").length;
  return { projection, pooler, activation };
};

/** Sizes of each layer's experts that a prompt can activate, and how many it does. */
const activatedOf = ({ graph, table }: Resolved, method: RoutedMethod): ParameterCount["activated"] => {
  const sizes = graph.layers.map((layer, index) =>
    layer.modules
      .filter(({ name }) => table[index]?.includes(name) ?? true)
      .map((module) => expertSize(method, module)),
  );
  return activatedCount(sizes, isLearned(method) ? method.topK : Number.MAX_SAFE_INTEGER);
};

export const countRouted = (whole: ModelGraph, method: RoutedMethod): ParameterCount => {
  const resolved = resolve(whole, method);
  const { graph } = resolved;
  const modules = countByModule(graph, (module) => expertSize(method, module));
  const adapter = modules.reduce((total, { parameters }) => total + parameters, 0);
  const parts = isLearned(method) ? routerParts(resolved, method) : {};
  const routers = Object.values(parts).reduce((total, size) => total + size, 0);
  const projection = parts["projection"] ?? 0;
  const activated = activatedOf(resolved, method);
  return {
    trainable: adapter + routers,
    adapter,
    routers,
    routerParts: parts,
    adapterAndProjection: adapter + projection,
    activated,
    activatedWithProjection: {
      min: activated.min + projection,
      mean: activated.mean + projection,
      max: activated.max + projection,
    },
    modules,
  };
};

/** The balance loss has nothing to balance where no router decides. */
export const balanceOfRouted = (method: RoutedMethod): number => (isLearned(method) ? method.balance : 0);
