import { z } from "zod";
import { moduleFields, plannedBody, plannedHeader, plannedModule, presetField } from "./planned.js";

/** IAPT (Zhu et al. 2024): soft tokens that each layer makes from the prompt, once. */
export const iaptMethod = z.strictObject({
  kind: z.literal("iapt"),
  preset: presetField,
  tokens: z.int().min(1).default(4).meta({ description: "Soft tokens of a layer." }),
  bottleneck: z.int().min(1).default(320).meta({ description: "Width between W_down and W_up." }),
  moduleNames: moduleFields.moduleNames,
});

export type IaptMethod = z.output<typeof iaptMethod>;

/** `adapter_config.json` of an IAPT adapter. */
export const iaptAdapterConfig = z.object({
  peft_type: z.literal("MILORA_IAPT"),
  ...plannedHeader,
  tokens: z.int().min(1),
  bottleneck: z.int().min(1),
  ...plannedBody(z.strictObject(plannedModule)),
});

export type IaptAdapterConfig = z.output<typeof iaptAdapterConfig>;
