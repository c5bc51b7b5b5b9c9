import { z } from "zod";
import { moduleFields, presetField } from "./planned.js";

/** AdaLoRA (Zhang et al. 2023), PEFT's own: LoRA as a singular value decomposition, pruned to a budget. */
export const adaloraMethod = z.strictObject({
  kind: z.literal("adalora"),
  preset: presetField,
  initialRank: z.int().min(2).default(64).meta({ description: "Singular values of a module before pruning." }),
  targetRank: z.int().min(1).default(32).meta({ description: "Their mean over the modules after pruning." }),
  alpha: z
    .number()
    .positive()
    .optional()
    .meta({ description: "Scale alpha / initialRank of the update; the initial rank by default." }),
  dropout: z.number().min(0).max(0.9).default(0).meta({ description: "Dropout on the adapter's input." }),
  orthogonality: z.number().min(0).default(0.5).meta({ description: "Weight of the orthogonality loss." }),
  initialShare: z.number().min(0).lt(1).default(0.1).meta({ description: "Share of the steps before the pruning." }),
  finalShare: z.number().min(0).lt(1).default(0.3).meta({ description: "Share of the steps after the pruning." }),
  interval: z.int().min(1).default(10).meta({ description: "Steps between two prunings." }),
  ...moduleFields,
});

export type AdaloraMethod = z.output<typeof adaloraMethod>;

/** PEFT's own AdaLoRA config, as far as we write it. */
export const adaloraAdapterConfig = z.object({
  peft_type: z.literal("ADALORA"),
  task_type: z.literal("CAUSAL_LM"),
  base_model_name_or_path: z.string(),
  inference_mode: z.boolean().default(true),
  init_r: z.int().min(2),
  target_r: z.int().min(1),
  lora_alpha: z.number().positive(),
  lora_dropout: z.number().min(0).max(0.9),
  orth_reg_weight: z.number().min(0),
  /** Steps before the pruning, after it, between two prunings, and all. */
  tinit: z.int().min(0),
  tfinal: z.int().min(0),
  deltaT: z.int().min(1),
  total_step: z.int().min(1),
  target_modules: z.array(z.string()).min(1),
  bias: z.literal("none").default("none"),
});

export type AdaloraAdapterConfig = z.output<typeof adaloraAdapterConfig>;
