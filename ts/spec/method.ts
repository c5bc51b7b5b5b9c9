import { z } from "zod";
import { adaloraMethod } from "./adapters/adalora.js";
import { bitfitMethod } from "./adapters/bitfit.js";
import { ia3Method } from "./adapters/ia3.js";
import { doraMethod } from "./adapters/dora.js";
import { iaptMethod } from "./adapters/iapt.js";
import { learnedAdapterMethod } from "./adapters/learned-adapter.js";
import { loraMethod } from "./adapters/lora.js";
import { midoraMethod, miloraMethod } from "./adapters/milora.js";
import { moeloraMethod } from "./adapters/moelora.js";
import { pTuningV2Method } from "./adapters/p-tuning-v2.js";
import { parallelAdapterMethod } from "./adapters/parallel-adapter.js";
import { sspMethod } from "./adapters/ssp.js";

/** A fine-tuning method with its settings, told apart by `kind`. */
export const methodSchema = z.discriminatedUnion("kind", [
  miloraMethod,
  midoraMethod,
  loraMethod,
  doraMethod,
  adaloraMethod,
  bitfitMethod,
  ia3Method,
  moeloraMethod,
  parallelAdapterMethod,
  learnedAdapterMethod,
  pTuningV2Method,
  iaptMethod,
  sspMethod,
]);

/** A fine-tuning method with its settings, all defaults filled. */
export type Method = z.output<typeof methodSchema>;
/** A fine-tuning method as a person writes it: `kind`, and what differs from the defaults. */
export type MethodInput = z.input<typeof methodSchema>;
export type MethodKind = Method["kind"];
