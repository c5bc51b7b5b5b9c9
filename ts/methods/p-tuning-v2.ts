import { blocksOf } from "../graph/blocks.js";
import type { ModelGraph } from "../graph/model-graph.js";
import type { PTuningV2AdapterConfig, PTuningV2Method } from "../spec/adapters/p-tuning-v2.js";
import type { MethodDefinition } from "./method.js";
import { bodyOf, countOf, headerOf, placeOf } from "./planned.js";
import { checkSoftTokens } from "./soft-tokens.js";

const plan = (whole: ModelGraph, { tokens, embedding }: PTuningV2Method): PTuningV2AdapterConfig => {
  checkSoftTokens(whole, tokens);
  const graph = blocksOf(whole, ["attention"]);
  return { peft_type: "MILORA_P_TUNING_V2", ...headerOf(graph), tokens, embedding, ...bodyOf(graph, placeOf) };
};

/** P-tuning v2 (Liu et al. 2022), with the embedding projected as the MiLoRA paper sizes it. */
export const pTuningV2: MethodDefinition<"p-tuning-v2"> = {
  kind: "p-tuning-v2",
  label: "P-tuning v2",
  capabilities: { routed: false, mergeable: false, bilevel: false },
  plan,
  // The embedding, and its projection.
  count: (graph, { tokens, embedding }) =>
    countOf(blocksOf(graph, ["attention"]), ({ inFeatures }) => embedding * (tokens + inFeatures)),
  balance: () => 0,
};
