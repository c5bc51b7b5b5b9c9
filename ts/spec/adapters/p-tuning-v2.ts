import { z } from "zod";
import { moduleFields, plannedBody, plannedHeader, plannedModule, presetField } from "./planned.js";

/** P-tuning v2 (Liu et al. 2022): trained soft tokens in front of every layer's keys and values. */
export const pTuningV2Method = z.strictObject({
  kind: z.literal("p-tuning-v2"),
  preset: presetField,
  tokens: z.int().min(1).default(16).meta({ description: "Soft tokens of a layer." }),
  embedding: z
    .int()
    .min(1)
    .default(640)
    .meta({ description: "Width of their embedding, projected to the hidden size." }),
  moduleNames: moduleFields.moduleNames,
});

export type PTuningV2Method = z.output<typeof pTuningV2Method>;

/** `adapter_config.json` of a P-tuning v2 adapter. */
export const pTuningV2AdapterConfig = z.object({
  peft_type: z.literal("MILORA_P_TUNING_V2"),
  ...plannedHeader,
  tokens: z.int().min(1),
  embedding: z.int().min(1),
  ...plannedBody(z.strictObject(plannedModule)),
});

export type PTuningV2AdapterConfig = z.output<typeof pTuningV2AdapterConfig>;
