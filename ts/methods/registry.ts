import type { ModelGraph } from "../graph/model-graph.js";
import type { ParameterCount } from "../graph/parameter-count.js";
import type { AdapterConfig } from "../spec/adapter-config.js";
import type { Method, MethodKind } from "../spec/method.js";
import { adalora } from "./adalora.js";
import { bitfit } from "./bitfit.js";
import { dora } from "./dora.js";
import { ia3 } from "./ia3.js";
import { iapt } from "./iapt.js";
import { learnedAdapter } from "./learned-adapter.js";
import { lora } from "./lora.js";
import type { MethodCapabilities, MethodDefinition } from "./method.js";
import { midora } from "./midora.js";
import { milora } from "./milora.js";
import { moelora } from "./moelora.js";
import { pTuningV2 } from "./p-tuning-v2.js";
import { parallelAdapter } from "./parallel-adapter.js";
import { plainTraining, type TrainingPlan } from "./phase.js";
import { ssp } from "./ssp.js";

/** A method with its settings, resolved against one model. */
export interface ResolvedMethod {
  readonly label: string;
  readonly capabilities: MethodCapabilities;
  /** The plan: the adapter's own `adapter_config.json`. */
  readonly config: AdapterConfig;
  readonly count: ParameterCount;
  /** Weight of the balance loss. */
  readonly balance: number;
  /** How a training of so many steps runs. */
  readonly training: (totalSteps: number) => TrainingPlan<AdapterConfig>;
}

const resolveWith = <Kind extends MethodKind>(
  definition: MethodDefinition<Kind>,
  graph: ModelGraph,
  method: Extract<Method, { kind: Kind }>,
): ResolvedMethod => {
  const count = definition.count(graph, method);
  // With fixed activations, or no router at all, there is no Θ to train.
  const bilevel = definition.capabilities.bilevel && (count.routerParts["activation"] ?? 0) > 0;
  const config = definition.plan(graph, method);
  return {
    label: definition.label,
    capabilities: { ...definition.capabilities, bilevel },
    config,
    count,
    balance: definition.balance(method),
    training: (totalSteps) =>
      definition.training?.({ config, method, totalSteps }) ?? plainTraining(config, totalSteps),
  };
};

/** Resolves a method against a model's graph. */
export const resolveMethod = (graph: ModelGraph, method: Method): ResolvedMethod => {
  switch (method.kind) {
    case "milora":
      return resolveWith(milora, graph, method);
    case "midora":
      return resolveWith(midora, graph, method);
    case "lora":
      return resolveWith(lora, graph, method);
    case "dora":
      return resolveWith(dora, graph, method);
    case "adalora":
      return resolveWith(adalora, graph, method);
    case "bitfit":
      return resolveWith(bitfit, graph, method);
    case "ia3":
      return resolveWith(ia3, graph, method);
    case "moelora":
      return resolveWith(moelora, graph, method);
    case "parallel-adapter":
      return resolveWith(parallelAdapter, graph, method);
    case "learned-adapter":
      return resolveWith(learnedAdapter, graph, method);
    case "p-tuning-v2":
      return resolveWith(pTuningV2, graph, method);
    case "iapt":
      return resolveWith(iapt, graph, method);
    case "ssp":
      return resolveWith(ssp, graph, method);
  }
};
