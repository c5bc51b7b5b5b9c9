import type { z } from "zod";
import { loraAdapterConfig, miloraAdapterConfig } from "./adapter-config.js";
import { bitfitAdapterConfig } from "./adapters/bitfit.js";
import { sspAdapterConfig } from "./adapters/ssp.js";
import { dataSchema } from "./data.js";
import { methodSchema } from "./method.js";
import { runSchema } from "./run.js";
import { sweepSchema } from "./sweep.js";
import { trainSchema } from "./train.js";

/** Everything that schemas/ is generated from, by file name. */
export const specSchemas = {
  run: runSchema,
  sweep: sweepSchema,
  method: methodSchema,
  data: dataSchema,
  train: trainSchema,
  "milora-adapter-config": miloraAdapterConfig,
  "lora-adapter-config": loraAdapterConfig,
  "bitfit-adapter-config": bitfitAdapterConfig,
  "ssp-adapter-config": sspAdapterConfig,
} as const satisfies Record<string, z.ZodType>;
