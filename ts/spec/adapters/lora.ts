import { z } from "zod";
import { expertName } from "../roles.js";

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
  modules: z
    .array(expertName)
    .min(1)
    .optional()
    .meta({ description: "Which modules of a layer are adapted (q k v o gate up down); all by default." }),
  moduleNames: z
    .record(expertName, z.string())
    .optional()
    .meta({ description: "For a decoder that is not known: expert name → path of the linear module inside a layer." }),
};

/** LoRA on every linear module of every decoder layer, through PEFT's own class. */
export const loraMethod = z.strictObject({
  kind: z.literal("lora"),
  preset: z
    .enum(["paper"])
    .optional()
    .meta({ description: "`paper`: the paper's settings, which are the defaults of this method." }),
  ...loraFields,
});

export type LoraMethod = z.output<typeof loraMethod>;
