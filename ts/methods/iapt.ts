import { blocksOf } from "../graph/blocks.js";
import type { ModelGraph } from "../graph/model-graph.js";
import { rationalCoefficients } from "../graph/parameter-count.js";
import type { IaptAdapterConfig, IaptMethod } from "../spec/adapters/iapt.js";
import type { MethodDefinition } from "./method.js";
import { bodyOf, countOf, headerOf, placeOf } from "./planned.js";
import { checkSoftTokens } from "./soft-tokens.js";

const plan = (whole: ModelGraph, { tokens, bottleneck }: IaptMethod): IaptAdapterConfig => {
  checkSoftTokens(whole, tokens);
  const graph = blocksOf(whole, ["attention"]);
  return { peft_type: "MILORA_IAPT", ...headerOf(graph), tokens, bottleneck, ...bodyOf(graph, placeOf) };
};

/** IAPT (Zhu et al. 2024): instruction-aware soft tokens. */
export const iapt: MethodDefinition<"iapt"> = {
  kind: "iapt",
  label: "IAPT",
  capabilities: { routed: false, mergeable: false, bilevel: false },
  plan,
  // W_down, W_up, the queries and g.
  count: (graph, { tokens, bottleneck }) =>
    countOf(
      blocksOf(graph, ["attention"]),
      ({ inFeatures }) => bottleneck * (2 * inFeatures + tokens) + rationalCoefficients,
    ),
  balance: () => 0,
};
