import { z } from "zod";
import { moduleFields, plannedBody, plannedHeader, plannedModule, presetField } from "./planned.js";

/** (IA)³ as the paper sizes it: scales of Q's, K's and U's outputs, projected from small vectors. */
export const ia3Method = z.strictObject({
  kind: z.literal("ia3"),
  preset: presetField,
  vector: z
    .int()
    .min(1)
    .default(128)
    .meta({ description: "Dimension of v, which is projected to the module's width." }),
  ...moduleFields,
  modules: moduleFields.modules.meta({
    description: "Which modules are scaled; by default q, k and up, or the fused modules that hold them.",
  }),
});

export type Ia3Method = z.output<typeof ia3Method>;

/** `adapter_config.json` of an (IA)³ adapter. */
export const ia3AdapterConfig = z.object({
  peft_type: z.literal("MILORA_IA3"),
  ...plannedHeader,
  vector: z.int().min(1),
  ...plannedBody(z.strictObject(plannedModule)),
});

export type Ia3AdapterConfig = z.output<typeof ia3AdapterConfig>;
