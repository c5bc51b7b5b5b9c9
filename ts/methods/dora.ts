import { selectModules } from "../graph/adapted-modules.js";
import { loraSize } from "../graph/parameter-count.js";
import { planLora } from "./lora.js";
import type { MethodDefinition } from "./method.js";
import { countOf } from "./planned.js";
import { rankOf } from "./ranks.js";

/** DoRA (Liu et al. 2024), PEFT's own class. */
export const dora: MethodDefinition<"dora"> = {
  kind: "dora",
  label: "DoRA",
  capabilities: { routed: false, mergeable: true, bilevel: false },
  plan: (graph, method) => ({ ...planLora(graph, method), use_dora: true }),
  // One magnitude an output besides LoRA's A and B.
  count: (graph, method) =>
    countOf(
      selectModules(graph, method.modules),
      (module) => loraSize(module, rankOf(method, module.name)) + module.outFeatures,
    ),
  balance: () => 0,
};
