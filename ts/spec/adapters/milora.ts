import { z } from "zod";
import { loraMethod } from "./lora.js";

/** MiLoRA: one router a layer reads the prompt once and picks `topK` of the layer's LoRA modules. */
export const miloraMethod = loraMethod.omit({ kind: true }).extend({
  kind: z.literal("milora"),
  topK: z.int().min(1).default(3).meta({ description: "Experts active in a layer, k." }),
  pooler: z
    .enum(["self-attention"])
    .default("self-attention")
    .meta({ description: "How a prompt's hidden states become one vector." }),
  activation: z
    .enum(["rational"])
    .default("rational")
    .meta({ description: "g of the router: a learned rational function (m = 6, n = 5), one a layer." }),
  gate: z.enum(["scaled", "probability"]).default("scaled").meta({
    description:
      "What scales an active expert: `scaled`: its probability among the kept ones, times k; `probability`: its softmax probability.",
  }),
  routerInput: z
    .enum(["normalized", "raw"])
    .default("normalized")
    .meta({ description: "Hidden states RMS-normalised before pooling, or as they are." }),
  balance: z.number().min(0).default(0.01).meta({ description: "Weight of the load-balancing loss, λ_lb." }),
});

export type MiloraMethod = z.output<typeof miloraMethod>;
