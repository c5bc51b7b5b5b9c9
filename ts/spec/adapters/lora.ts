import { z } from "zod";
import { expertName } from "../roles.js";

/** LoRA on every linear module of every decoder layer, through PEFT's own class. */
export const loraMethod = z.strictObject({
  kind: z.literal("lora"),
  preset: z
    .enum(["paper"])
    .optional()
    .meta({ description: "`paper`: the paper's settings, which are the defaults of this method." }),
  rank: z.int().min(1).default(32).meta({ description: "Columns of A." }),
  alpha: z.number().positive().optional().meta({ description: "Scale alpha / rank of the update; rank by default." }),
  dropout: z.number().min(0).max(0.9).default(0).meta({ description: "Dropout on the adapter's input." }),
  modules: z
    .array(expertName)
    .min(1)
    .optional()
    .meta({ description: "Which modules of a layer are adapted (q k v o gate up down); all by default." }),
  moduleNames: z.record(expertName, z.string()).optional().meta({
    description: "For a decoder that is not known: expert name → path of the linear module inside a layer.",
  }),
});

export type LoraMethod = z.output<typeof loraMethod>;
