import { z } from "zod";
import { expertName } from "../roles.js";
import { moduleFields, presetField } from "./planned.js";

/** The settings that every method of LoRA modules has. */
export const loraFields = {
  rank: z.int().min(1).default(32).meta({ description: "Columns of A." }),
  ranks: z
    .record(expertName, z.int().min(1))
    .optional()
    .meta({ description: 'Ranks of single modules, such as {"down": 16}; `rank` for all others.' }),
  alpha: z
    .number()
    .positive()
    .optional()
    .meta({ description: "Scale alpha / rank of the update; a module's rank by default." }),
  dropout: z.number().min(0).max(0.9).default(0).meta({ description: "Dropout on the adapter's input." }),
  ...moduleFields,
};

/** LoRA on every linear module of every decoder layer, through PEFT's own class. */
export const loraMethod = z.strictObject({
  kind: z.literal("lora"),
  preset: presetField,
  ...loraFields,
});

export type LoraMethod = z.output<typeof loraMethod>;
