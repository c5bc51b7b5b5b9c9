import { MiloraError } from "../errors.js";
import { selectModules } from "../graph/adapted-modules.js";
import type { GraphModule, ModelGraph } from "../graph/model-graph.js";
import { loraSize, type ParameterCount } from "../graph/parameter-count.js";
import type { SspAdapterConfig, SspMethod } from "../spec/adapters/ssp.js";
import type { MethodDefinition } from "./method.js";
import { searchThenTrain } from "./phase.js";
import { bodyOf, countOf, headerOf, placeOf } from "./planned.js";

const totalOf = (graph: ModelGraph, size: (module: GraphModule) => number): number =>
  graph.layers.flatMap(({ modules }) => modules).reduce((total, module) => total + size(module), 0);

/** A module's candidates: its LoRA module and its bias. */
const candidatesOf = (module: GraphModule, rank: number): readonly [number, number] => [
  loraSize(module, rank),
  module.outFeatures,
];

/**
 * Parameters that the search may keep.
 * @throws MiloraError `input/invalid-spec` where no choice of candidates has this size.
 */
const budgetOf = (graph: ModelGraph, { rank, budget, budgetRank }: SspMethod): number => {
  const wanted = budget ?? totalOf(graph, (module) => loraSize(module, budgetRank));
  const sizes = graph.layers.flatMap(({ modules }) => modules.flatMap((module) => candidatesOf(module, rank)));
  const smallest = Math.min(...sizes);
  const total = sizes.reduce((sum, size) => sum + size, 0);
  if (wanted >= smallest && wanted <= total) return wanted;
  const field = budget === undefined ? "budgetRank" : "budget";
  const found = budget === undefined ? `${budgetRank}, which is ${wanted} parameters` : `${wanted} parameters`;
  throw new MiloraError(
    "input/invalid-spec",
    `method.${field}: found ${found}, but the smallest candidate has ${smallest} and all ${sizes.length} together have ${total}. Choose a budget between them, or another rank.`,
    { path: `method.${field}`, found, allowed: `${smallest} to ${total} parameters` },
  );
};

const plan = (whole: ModelGraph, method: SspMethod): SspAdapterConfig => {
  const graph = selectModules(whole, method.modules);
  return {
    peft_type: "MILORA_SSP",
    ...headerOf(graph),
    r: method.rank,
    lora_alpha: method.alpha ?? method.rank,
    budget: budgetOf(graph, method),
    temperature: method.temperature,
    ...bodyOf(graph, (module) => ({ ...placeOf(module), lora: true, bias: true })),
  };
};

/** The budget, which what is kept does not exceed; by module all candidates. */
const count = (whole: ModelGraph, method: SspMethod): ParameterCount => {
  const graph = selectModules(whole, method.modules);
  const budget = budgetOf(graph, method);
  const candidates = countOf(graph, (module) => {
    const [lora, bias] = candidatesOf(module, method.rank);
    return lora + bias;
  });
  const activated = { min: budget, mean: budget, max: budget };
  return {
    ...candidates,
    trainable: budget,
    adapter: budget,
    adapterAndProjection: budget,
    activated,
    activatedWithProjection: activated,
    note: `The budget: what the search keeps has at most as many parameters. Its candidates, by module here, have ${candidates.adapter.toLocaleString("en")}.`,
  };
};

/** SSP (S3Delta, Hu et al. 2022): sparse structure search among LoRA modules and biases. */
export const ssp: MethodDefinition<"ssp"> = {
  kind: "ssp",
  label: "SSP",
  capabilities: { routed: false, mergeable: false, bilevel: false },
  plan,
  count,
  balance: () => 0,
  training: ({ config, method: { searchShare: share, structureLearningRate: learningRate }, totalSteps }) =>
    searchThenTrain({ config, totalSteps, share, search: () => ({ learningRate, pruneEvery: null }) }),
};
