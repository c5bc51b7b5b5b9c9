import type { MethodDefinition } from "./method.js";
import { balanceOfRouted, countRouted, planRouted } from "./routed.js";

/** MiDoRA: MiLoRA's router over DoRA modules (Zhang et al. 2024, arXiv 2410.18035). */
export const midora: MethodDefinition<"midora"> = {
  kind: "midora",
  label: "MiDoRA",
  capabilities: { routed: true, mergeable: false, bilevel: true },
  plan: planRouted,
  count: countRouted,
  balance: balanceOfRouted,
};
