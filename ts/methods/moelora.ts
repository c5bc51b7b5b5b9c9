import { MiloraError } from "../errors.js";
import { selectModules } from "../graph/adapted-modules.js";
import type { ModelGraph } from "../graph/model-graph.js";
import { loraSize, type ParameterCount } from "../graph/parameter-count.js";
import type { MoeloraAdapterConfig, MoeloraMethod } from "../spec/adapters/moelora.js";
import type { MethodDefinition } from "./method.js";
import { bodyOf, countOf, headerOf, placeOf } from "./planned.js";

const invalid = (path: string, found: number, allowed: string): MiloraError =>
  new MiloraError("input/invalid-spec", `method.${path}: found ${found}; allowed: ${allowed}.`, {
    path: `method.${path}`,
    found: String(found),
    allowed,
  });

const check = ({ rank, experts, topK }: MoeloraMethod): void => {
  if (rank % experts !== 0) throw invalid("rank", rank, `a multiple of method.experts, ${experts}`);
  if (topK > experts) throw invalid("topK", topK, `1 to method.experts, ${experts}`);
};

const plan = (whole: ModelGraph, method: MoeloraMethod): MoeloraAdapterConfig => {
  check(method);
  const graph = selectModules(whole, method.modules);
  return {
    peft_type: "MILORA_MOELORA",
    ...headerOf(graph),
    r: method.rank,
    lora_alpha: method.alpha ?? method.rank,
    lora_dropout: method.dropout,
    experts: method.experts,
    top_k: method.topK,
    ...bodyOf(graph, placeOf),
  };
};

/** The LoRA modules, and a router a module as wide as its input; k of the experts are active for a token. */
const count = (whole: ModelGraph, method: MoeloraMethod): ParameterCount => {
  check(method);
  const graph = selectModules(whole, method.modules);
  const lora = countOf(graph, (module) => loraSize(module, method.rank));
  const inputs = graph.layers.flatMap(({ modules }) => modules.map(({ inFeatures }) => inFeatures));
  const routers = inputs.reduce((total, width) => total + width * method.experts, 0);
  const asInPaper = lora.adapter + inputs.length * graph.hiddenSize * method.experts;
  const active = (lora.adapter * method.topK) / method.experts;
  const activated = { min: active, mean: active, max: active };
  const withRouters = { min: active + routers, mean: active + routers, max: active + routers };
  return {
    ...lora,
    trainable: lora.adapter + routers,
    routers,
    routerParts: { projection: routers },
    adapterAndProjection: lora.adapter + routers,
    activated,
    activatedWithProjection: withRouters,
    note: `As the paper counts, with ${graph.hiddenSize} inputs for every router: ${asInPaper.toLocaleString("en")} trainable.`,
  };
};

/** MOELoRA (Liu et al. 2023, as the MiLoRA paper compares with it): a token-wise mixture in each module. */
export const moelora: MethodDefinition<"moelora"> = {
  kind: "moelora",
  label: "MOELoRA",
  capabilities: { routed: false, mergeable: false, bilevel: false },
  plan,
  count,
  balance: (method) => method.balance,
};
