import { z } from "zod";
import { moduleFields, plannedBody, plannedHeader, plannedModule, presetField } from "./planned.js";

/** Which blocks of a layer have an adapter, and how their modules are called in a decoder that is not known. */
export const blockFields = {
  blocks: z
    .array(z.enum(["attention", "ffn"]))
    .min(1)
    .default(["attention", "ffn"])
    .meta({ description: "Blocks of a layer that have an adapter." }),
  moduleNames: moduleFields.moduleNames,
};

/** Parallel-Adapter (He et al. 2021): a bottleneck beside each block. */
export const parallelAdapterMethod = z.strictObject({
  kind: z.literal("parallel-adapter"),
  preset: presetField,
  bottleneck: z.int().min(1).default(160).meta({ description: "Width between W_down and W_up." }),
  scale: z.number().positive().default(4).meta({ description: "s, by which the adapter's output is scaled." }),
  ...blockFields,
});

export type ParallelAdapterMethod = z.output<typeof parallelAdapterMethod>;

/** `adapter_config.json` of a Parallel-Adapter. */
export const parallelAdapterConfig = z.object({
  peft_type: z.literal("MILORA_PARALLEL_ADAPTER"),
  ...plannedHeader,
  bottleneck: z.int().min(1),
  scale: z.number().positive(),
  ...plannedBody(z.strictObject(plannedModule)),
});

export type ParallelAdapterConfig = z.output<typeof parallelAdapterConfig>;
