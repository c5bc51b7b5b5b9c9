import { blocksOf } from "../graph/blocks.js";
import type { ModelGraph } from "../graph/model-graph.js";
import type { ParameterCount } from "../graph/parameter-count.js";
import {
  architectures,
  type LearnedAdapterConfig,
  type LearnedAdapterMethod,
} from "../spec/adapters/learned-adapter.js";
import type { MethodDefinition } from "./method.js";
import { searchThenTrain } from "./phase.js";
import { bodyOf, countOf, headerOf, placeOf } from "./planned.js";

const plan = (whole: ModelGraph, { blocks, bottleneck }: LearnedAdapterMethod): LearnedAdapterConfig => {
  const graph = blocksOf(whole, blocks);
  return {
    peft_type: "MILORA_LEARNED_ADAPTER",
    ...headerOf(graph),
    bottleneck,
    ...bodyOf(graph, (module) => ({ ...placeOf(module), architecture: null })),
  };
};

/** W_down and W_up of every block: what the found adapter has at most. */
const count = (graph: ModelGraph, { blocks, bottleneck }: LearnedAdapterMethod): ParameterCount => ({
  ...countOf(blocksOf(graph, blocks), ({ inFeatures, outFeatures }) => bottleneck * (inFeatures + outFeatures)),
  note: "At most: blocks that the search skips have no parameters; one with a rational activation has twelve more.",
});

/** Learned-Adapter (Zhang et al. 2023): a bottleneck a block, of searched placement and activation. */
export const learnedAdapter: MethodDefinition<"learned-adapter"> = {
  kind: "learned-adapter",
  label: "Learned-Adapter",
  capabilities: { routed: false, mergeable: false, bilevel: false },
  plan,
  count,
  balance: () => 0,
  training: ({ config, method: { searchShare: share, architectureLearningRate: learningRate }, totalSteps }) =>
    searchThenTrain({
      config,
      totalSteps,
      share,
      // As often as there are architectures: one is left before the search ends, where it is not shorter than that.
      search: (steps) => ({ learningRate, pruneEvery: Math.max(1, Math.floor(steps / architectures.length)) }),
    }),
};
