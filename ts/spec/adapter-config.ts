import { z } from "zod";
import type { AdaloraAdapterConfig } from "./adapters/adalora.js";
import type { BitfitAdapterConfig } from "./adapters/bitfit.js";
import { plannedHeader, plannedModule } from "./adapters/planned.js";
import type { Ia3AdapterConfig } from "./adapters/ia3.js";
import type { IaptAdapterConfig } from "./adapters/iapt.js";
import type { LearnedAdapterConfig } from "./adapters/learned-adapter.js";
import type { MoeloraAdapterConfig } from "./adapters/moelora.js";
import type { PTuningV2AdapterConfig } from "./adapters/p-tuning-v2.js";
import type { ParallelAdapterConfig } from "./adapters/parallel-adapter.js";
import type { SspAdapterConfig } from "./adapters/ssp.js";
import { expertName } from "./roles.js";

/**
 * PEFT's `adapter_config.json` of a MiLoRA adapter: the plan of a run, so that a saved adapter describes itself.
 * Keys are PEFT's snake_case.
 */

const expert = z.strictObject({
  ...plannedModule,
  rank: z.int().min(1),
  alpha: z.number().positive(),
});

const plannedLayer = z.strictObject({
  /** Path of the decoder layer inside the causal language model, such as `model.layers.0`. */
  path: z.string().min(1),
  /** g of the layer's router. */
  activation: z.enum(["rational", "gelu", "relu"]),
  /** With policy `fixed`: names of the experts that are always active, maybe none; else null. */
  chosen: z.array(expertName).nullable(),
  experts: z.array(expert).min(1),
});

export const miloraAdapterConfig = z.object({
  peft_type: z.literal("MILORA_PROMPT"),
  ...plannedHeader,
  r: z.int().min(1),
  lora_alpha: z.number().positive(),
  lora_dropout: z.number().min(0).max(0.9),
  /** What an expert is: a LoRA module (MiLoRA) or a DoRA module (MiDoRA). */
  expert: z.enum(["lora", "dora"]),
  /** `fixed`: each layer's `chosen` decides, with gates of 1, and there are no routers. */
  policy: z.enum(["learned", "fixed"]),
  /** Names that PEFT matches modules by: the last component of each expert's module. */
  target_modules: z.array(z.string()).min(1),
  top_k: z.int().min(1),
  pooler: z.enum(["self-attention", "average", "max", "last-token"]),
  gate: z.enum(["scaled", "probability", "none"]),
  /** Dtype in which base and adapter output are added: the base's own, or float32. */
  accumulate: z.enum(["base", "float32"]),
  router_input: z.enum(["normalized", "raw"]),
  hidden_size: z.int().min(1),
  layers: z.array(plannedLayer).min(1),
});

/** PEFT's own LoRA config, as far as we write it. */
export const loraAdapterConfig = z.object({
  peft_type: z.literal("LORA"),
  task_type: z.literal("CAUSAL_LM"),
  base_model_name_or_path: z.string(),
  inference_mode: z.boolean().default(true),
  r: z.int().min(1),
  lora_alpha: z.number().positive(),
  lora_dropout: z.number().min(0).max(0.9),
  /** Module path or name → its own rank and alpha, where they differ. */
  rank_pattern: z.record(z.string(), z.int().min(1)).default({}),
  alpha_pattern: z.record(z.string(), z.number().positive()).default({}),
  target_modules: z.array(z.string()).min(1),
  bias: z.literal("none").default("none"),
  /** DoRA: a magnitude an output of its own. */
  use_dora: z.boolean().default(false),
});

export type MiloraAdapterConfig = z.output<typeof miloraAdapterConfig>;
export type LoraAdapterConfig = z.output<typeof loraAdapterConfig>;

/** The config of any method's adapter: the plan of a run. */
export type AdapterConfig =
  | AdaloraAdapterConfig
  | MiloraAdapterConfig
  | LoraAdapterConfig
  | BitfitAdapterConfig
  | Ia3AdapterConfig
  | LearnedAdapterConfig
  | MoeloraAdapterConfig
  | ParallelAdapterConfig
  | PTuningV2AdapterConfig
  | IaptAdapterConfig
  | SspAdapterConfig;
