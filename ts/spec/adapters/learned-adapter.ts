import { z } from "zod";
import { blockFields } from "./parallel-adapter.js";
import { plannedBody, plannedHeader, plannedModule, presetField } from "./planned.js";

/** Where a bottleneck sits, and what is between its two products. */
export const placements = ["sequential", "parallel"] as const;
export const bottleneckActivations = ["identity", "relu", "gelu", "silu", "tanh", "rational"] as const;

/** Every architecture that a slot can have, in the order of the architecture weights. */
export const architectures = [
  ...placements.flatMap((placement) =>
    bottleneckActivations.map((activation) => `${placement}-${activation}` as const),
  ),
  "skip",
] as const;

/** Learned-Adapter (Zhang et al. 2023): the architecture of each block's bottleneck is searched. */
export const learnedAdapterMethod = z.strictObject({
  kind: z.literal("learned-adapter"),
  preset: presetField,
  bottleneck: z.int().min(1).default(160).meta({ description: "Width between W_down and W_up." }),
  searchShare: z.number().gt(0).lt(1).default(0.5).meta({ description: "Share of the steps that search." }),
  architectureLearningRate: z
    .number()
    .positive()
    .default(0.05)
    .meta({ description: "Learning rate of the architecture weights, trained on D_val during the search." }),
  ...blockFields,
});

export type LearnedAdapterMethod = z.output<typeof learnedAdapterMethod>;

/** `adapter_config.json` of a Learned-Adapter; a place without an architecture is still searched. */
export const learnedAdapterConfig = z.object({
  peft_type: z.literal("MILORA_LEARNED_ADAPTER"),
  ...plannedHeader,
  bottleneck: z.int().min(1),
  ...plannedBody(
    z.strictObject({ ...plannedModule, architecture: z.enum(architectures).exclude(["skip"]).nullable() }),
  ),
});

export type LearnedAdapterConfig = z.output<typeof learnedAdapterConfig>;
