import { selectModules } from "../graph/adapted-modules.js";
import { moduleNamesOf, type ModelGraph } from "../graph/model-graph.js";
import type { Ia3AdapterConfig, Ia3Method } from "../spec/adapters/ia3.js";
import type { MethodDefinition } from "./method.js";
import { bodyOf, countOf, headerOf, placeOf } from "./planned.js";

/** Q, K and U; where projections are fused, the modules that hold them; for a decoder that is not known, all. */
const scaled = ["q", "k", "up", "qkv", "gate_up"];

const graphOf = (graph: ModelGraph, { modules }: Ia3Method): ModelGraph => {
  const found = moduleNamesOf(graph).filter((name) => scaled.includes(name));
  return selectModules(graph, modules ?? (found.length > 0 ? found : undefined));
};

const plan = (whole: ModelGraph, method: Ia3Method): Ia3AdapterConfig => {
  const graph = graphOf(whole, method);
  return { peft_type: "MILORA_IA3", ...headerOf(graph), vector: method.vector, ...bodyOf(graph, placeOf) };
};

/** (IA)³ (Liu et al. 2022), with the scales projected as the MiLoRA paper sizes them. */
export const ia3: MethodDefinition<"ia3"> = {
  kind: "ia3",
  label: "(IA)³",
  capabilities: { routed: false, mergeable: false, bilevel: false },
  plan,
  // v and W_p of each module.
  count: (graph, method) => countOf(graphOf(graph, method), ({ outFeatures }) => method.vector * (1 + outFeatures)),
  balance: () => 0,
};
