import type { ModelGraph } from "../graph/model-graph.js";
import type { ParameterCount } from "../graph/parameter-count.js";
import type { AdapterConfig } from "../spec/adapter-config.js";
import type { Method, MethodKind } from "../spec/method.js";
import type { TrainingPlan } from "./phase.js";

/** What a method can do; a request for anything else is refused before any work. */
export interface MethodCapabilities {
  /** A router decides per prompt which modules are active. */
  readonly routed: boolean;
  /** Its weights can be merged into the base model. */
  readonly mergeable: boolean;
  /** It has learned activations Θ, trained on D_val between the other steps. */
  readonly bilevel: boolean;
}

/** A fine-tuning method: everything TypeScript knows of it. */
export interface MethodDefinition<Kind extends MethodKind = MethodKind> {
  readonly kind: Kind;
  readonly label: string;
  readonly capabilities: MethodCapabilities;
  /** Resolves the method against a model: the adapter's own `adapter_config.json`. */
  readonly plan: (graph: ModelGraph, method: Extract<Method, { kind: Kind }>) => AdapterConfig;
  readonly count: (graph: ModelGraph, method: Extract<Method, { kind: Kind }>) => ParameterCount;
  /** Weight of the balance loss; 0 for a method without routers. */
  readonly balance: (method: Extract<Method, { kind: Kind }>) => number;
  /** How a training of `totalSteps` runs; one plain phase by default. */
  readonly training?: (options: {
    readonly config: AdapterConfig;
    readonly method: Extract<Method, { kind: Kind }>;
    readonly totalSteps: number;
  }) => TrainingPlan<AdapterConfig>;
}
