import { z } from "zod";
import { moduleFields, plannedBody, plannedHeader, plannedModule, presetField } from "./planned.js";

/** MOELoRA (the paper's variant): each LoRA module is a mixture of low-rank experts, chosen for each token. */
export const moeloraMethod = z.strictObject({
  kind: z.literal("moelora"),
  preset: presetField,
  rank: z.int().min(1).default(32).meta({ description: "Columns of A, of all a module's experts together." }),
  experts: z.int().min(2).default(8).meta({ description: "Experts of a module; each has rank / experts ranks." }),
  topK: z.int().min(1).default(4).meta({ description: "Experts active for a token." }),
  alpha: z
    .number()
    .positive()
    .optional()
    .meta({ description: "Scale alpha / rank of the update; the rank by default." }),
  dropout: z.number().min(0).max(0.9).default(0).meta({ description: "Dropout on the adapter's input." }),
  balance: z.number().min(0).default(0.01).meta({ description: "Weight of the load-balancing loss, λ_lb." }),
  ...moduleFields,
});

export type MoeloraMethod = z.output<typeof moeloraMethod>;

/** `adapter_config.json` of a MOELoRA adapter. */
export const moeloraAdapterConfig = z.object({
  peft_type: z.literal("MILORA_MOELORA"),
  ...plannedHeader,
  r: z.int().min(1),
  lora_alpha: z.number().positive(),
  lora_dropout: z.number().min(0).max(0.9),
  experts: z.int().min(2),
  top_k: z.int().min(1),
  ...plannedBody(z.strictObject(plannedModule)),
});

export type MoeloraAdapterConfig = z.output<typeof moeloraAdapterConfig>;
