import type { MethodDefinition } from "./method.js";
import { balanceOfRouted, countRouted, planRouted } from "./routed.js";

/** MiLoRA (Zhang et al. 2024, arXiv 2410.18035). */
export const milora: MethodDefinition<"milora"> = {
  kind: "milora",
  label: "MiLoRA",
  capabilities: { routed: true, mergeable: false, bilevel: true },
  plan: planRouted,
  count: countRouted,
  balance: balanceOfRouted,
};
