import { selectModules } from "../graph/adapted-modules.js";
import type { ModelGraph } from "../graph/model-graph.js";
import type { BitfitAdapterConfig, BitfitMethod } from "../spec/adapters/bitfit.js";
import type { MethodDefinition } from "./method.js";
import { bodyOf, countOf, headerOf, placeOf } from "./planned.js";

const plan = (whole: ModelGraph, method: BitfitMethod): BitfitAdapterConfig => {
  const graph = selectModules(whole, method.modules);
  return { peft_type: "MILORA_BITFIT", ...headerOf(graph), vector: method.vector, ...bodyOf(graph, placeOf) };
};

/** BitFit (Ben Zaken et al. 2022), with the bias vectors projected as the MiLoRA paper sizes them. */
export const bitfit: MethodDefinition<"bitfit"> = {
  kind: "bitfit",
  label: "BitFit",
  capabilities: { routed: false, mergeable: false, bilevel: false },
  plan,
  // v and W_p of each module.
  count: (graph, method) =>
    countOf(selectModules(graph, method.modules), ({ outFeatures }) => method.vector * (1 + outFeatures)),
  balance: () => 0,
};
