import { z } from "zod";
import { moduleFields, plannedBody, plannedHeader, plannedModule, presetField } from "./planned.js";

/** BitFit as the paper sizes it: a bias vector on each module's output, projected from a small one. */
export const bitfitMethod = z.strictObject({
  kind: z.literal("bitfit"),
  preset: presetField,
  vector: z
    .int()
    .min(1)
    .default(64)
    .meta({ description: "Dimension of v, which is projected to the module's width." }),
  ...moduleFields,
});

export type BitfitMethod = z.output<typeof bitfitMethod>;

/** `adapter_config.json` of a BitFit adapter. */
export const bitfitAdapterConfig = z.object({
  peft_type: z.literal("MILORA_BITFIT"),
  ...plannedHeader,
  vector: z.int().min(1),
  ...plannedBody(z.strictObject(plannedModule)),
});

export type BitfitAdapterConfig = z.output<typeof bitfitAdapterConfig>;
