import { z } from "zod";
import { loraFields } from "./lora.js";
import { presetField } from "./planned.js";

/** DoRA (Liu et al. 2024): LoRA with the magnitude of each output apart, through PEFT's own class. */
export const doraMethod = z.strictObject({ kind: z.literal("dora"), preset: presetField, ...loraFields });

export type DoraMethod = z.output<typeof doraMethod>;
