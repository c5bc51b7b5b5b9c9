import { blocksOf } from "../graph/blocks.js";
import type { ModelGraph } from "../graph/model-graph.js";
import type { ParallelAdapterConfig, ParallelAdapterMethod } from "../spec/adapters/parallel-adapter.js";
import type { MethodDefinition } from "./method.js";
import { bodyOf, countOf, headerOf, placeOf } from "./planned.js";

const plan = (whole: ModelGraph, { blocks, bottleneck, scale }: ParallelAdapterMethod): ParallelAdapterConfig => {
  const graph = blocksOf(whole, blocks);
  return { peft_type: "MILORA_PARALLEL_ADAPTER", ...headerOf(graph), bottleneck, scale, ...bodyOf(graph, placeOf) };
};

/** Parallel-Adapter (He et al. 2021): a bottleneck beside the attention block and beside the FFN. */
export const parallelAdapter: MethodDefinition<"parallel-adapter"> = {
  kind: "parallel-adapter",
  label: "Parallel-Adapter",
  capabilities: { routed: false, mergeable: false, bilevel: false },
  plan,
  // W_down and W_up of each block; no biases.
  count: (graph, { blocks, bottleneck }) =>
    countOf(blocksOf(graph, blocks), ({ inFeatures, outFeatures }) => bottleneck * (inFeatures + outFeatures)),
  balance: () => 0,
};
