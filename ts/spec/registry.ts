import type { z } from "zod";
import { loraAdapterConfig, miloraAdapterConfig } from "./adapter-config.js";
import { adaloraAdapterConfig } from "./adapters/adalora.js";
import { bitfitAdapterConfig } from "./adapters/bitfit.js";
import { ia3AdapterConfig } from "./adapters/ia3.js";
import { iaptAdapterConfig } from "./adapters/iapt.js";
import { learnedAdapterConfig } from "./adapters/learned-adapter.js";
import { moeloraAdapterConfig } from "./adapters/moelora.js";
import { pTuningV2AdapterConfig } from "./adapters/p-tuning-v2.js";
import { parallelAdapterConfig } from "./adapters/parallel-adapter.js";
import { sspAdapterConfig } from "./adapters/ssp.js";
import { dataSchema } from "./data.js";
import { methodSchema } from "./method.js";
import { runSchema } from "./run.js";
import { scaleSchema } from "./scale.js";
import { sweepSchema } from "./sweep.js";
import { trainSchema } from "./train.js";

/** Everything that schemas/ is generated from, by file name. */
export const specSchemas = {
  run: runSchema,
  sweep: sweepSchema,
  method: methodSchema,
  data: dataSchema,
  train: trainSchema,
  scale: scaleSchema,
  "milora-adapter-config": miloraAdapterConfig,
  "lora-adapter-config": loraAdapterConfig,
  "adalora-adapter-config": adaloraAdapterConfig,
  "bitfit-adapter-config": bitfitAdapterConfig,
  "ia3-adapter-config": ia3AdapterConfig,
  "learned-adapter-config": learnedAdapterConfig,
  "moelora-adapter-config": moeloraAdapterConfig,
  "parallel-adapter-config": parallelAdapterConfig,
  "p-tuning-v2-adapter-config": pTuningV2AdapterConfig,
  "iapt-adapter-config": iaptAdapterConfig,
  "ssp-adapter-config": sspAdapterConfig,
} as const satisfies Record<string, z.ZodType>;
