import { selectModules, targetModules } from "../graph/adapted-modules.js";
import type { ModelGraph } from "../graph/model-graph.js";
import { loraSize, type ParameterCount } from "../graph/parameter-count.js";
import type { LoraAdapterConfig } from "../spec/adapter-config.js";
import type { LoraMethod } from "../spec/adapters/lora.js";
import type { MethodDefinition } from "./method.js";
import { countOf } from "./planned.js";
import { rankOf } from "./ranks.js";

/** PEFT's patterns for modules whose rank is not the method's: last component of the path → rank. */
const rankPattern = (graph: ModelGraph, method: Omit<LoraMethod, "kind">): Readonly<Record<string, number>> =>
  Object.fromEntries(
    graph.layers
      .flatMap((layer) => layer.modules)
      .filter(({ name }) => rankOf(method, name) !== method.rank)
      .map(({ name, module }) => [module, rankOf(method, name)]),
  );

/** The plan of LoRA modules, DoRA's too but for `use_dora`. */
export const planLora = (whole: ModelGraph, method: Omit<LoraMethod, "kind">): LoraAdapterConfig => {
  const graph = selectModules(whole, method.modules);
  const ranks = rankPattern(graph, method);
  return {
    peft_type: "LORA",
    task_type: "CAUSAL_LM",
    base_model_name_or_path: graph.location,
    inference_mode: true,
    r: method.rank,
    lora_alpha: method.alpha ?? method.rank,
    lora_dropout: method.dropout,
    rank_pattern: { ...ranks },
    // Without an alpha of its own a module's scale is 1, whatever its rank.
    alpha_pattern: method.alpha === undefined ? { ...ranks } : {},
    target_modules: [...targetModules(graph)],
    bias: "none",
    use_dora: false,
  };
};

const count = (graph: ModelGraph, method: LoraMethod): ParameterCount =>
  countOf(selectModules(graph, method.modules), (module) => loraSize(module, rankOf(method, module.name)));

/** LoRA (Hu et al. 2021), PEFT's own class. */
export const lora: MethodDefinition<"lora"> = {
  kind: "lora",
  label: "LoRA",
  capabilities: { routed: false, mergeable: true, bilevel: false },
  plan: planLora,
  count,
  balance: () => 0,
};
