import { z } from "zod";
import { bitfitMethod } from "./adapters/bitfit.js";
import { loraMethod } from "./adapters/lora.js";
import { midoraMethod, miloraMethod } from "./adapters/milora.js";
import { sspMethod } from "./adapters/ssp.js";

/** A fine-tuning method with its settings, told apart by `kind`. */
export const methodSchema = z.discriminatedUnion("kind", [
  miloraMethod,
  midoraMethod,
  loraMethod,
  bitfitMethod,
  sspMethod,
]);

export type Method = z.output<typeof methodSchema>;
export type MethodInput = z.input<typeof methodSchema>;
export type MethodKind = Method["kind"];
