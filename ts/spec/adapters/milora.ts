import { z } from "zod";
import { expertName } from "../roles.js";
import { loraFields } from "./lora.js";

const activationName = z.enum(["rational", "gelu", "relu"]);

/** Activations by layer: each entry reaches up to a share of the layers, in order; the last reaches 1. */
const activationByLayer = z
  .array(
    z.strictObject({
      upTo: z.number().gt(0).max(1).meta({ description: "The share of the layers, from the first, that it ends at." }),
      activation: activationName.meta({ description: "The activation of these layers." }),
    }),
  )
  .min(1);

/** The decision of a layer made beforehand: layers (`"3"` or `"0-9"`) → experts that are always active there. */
const fixedPolicy = z.strictObject({
  kind: z.literal("fixed"),
  layers: z
    .record(z.string().regex(/^\d+(-\d+)?$/), z.array(expertName).min(1))
    .meta({ description: 'Layers, such as "3" or "0-9" → the experts that are active there.' }),
});

/** Who decides which experts are active. */
export const policySchema = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("learned") }).meta({ description: "The layer's router, by the prompt." }),
  fixedPolicy.meta({ description: "A table; layers that it does not name have no active expert." }),
  z
    .strictObject({
      kind: z.literal("random"),
      seed: z.int().min(0).default(0).meta({ description: "Decides the experts." }),
    })
    .meta({ description: "topK experts of each layer drawn once, by the seed." }),
  z.strictObject({ kind: z.literal("all") }).meta({ description: "Every expert of every layer: plain LoRA or DoRA." }),
]);

export type Policy = z.output<typeof policySchema>;

const routedFields = {
  preset: z.enum(["paper", "small", "milora-1", "milora-2", "milora-3", "milora-4", "milora-5"]).optional().meta({
    description:
      "`paper`: the paper's settings, which are the defaults. `small`: the same budget for every method on a small model (about 2.4 million parameters on SmolLM2-135M). `milora-1` to `milora-5`: its ablations (average pooling; last token; GeLU; ReLU then GeLU; GeLU then ReLU). What the spec says itself wins.",
  }),
  ...loraFields,
  topK: z.int().min(1).default(3).meta({ description: "Experts active in a layer, k." }),
  pooler: z
    .enum(["self-attention", "average", "max", "last-token"])
    .default("self-attention")
    .meta({ description: "How a prompt's hidden states become one vector." }),
  activation: z.union([activationName, activationByLayer]).default("rational").meta({
    description: "g of the router: a learned rational function (m = 6, n = 5), one a layer, or a fixed one.",
  }),
  gate: z.enum(["scaled", "probability", "none"]).default("scaled").meta({
    description:
      "What scales an active expert: `scaled`: its probability among the kept ones, times k; `probability`: its softmax probability; `none`: 1, with a straight-through gradient.",
  }),
  routerInput: z
    .enum(["normalized", "raw"])
    .default("normalized")
    .meta({ description: "Hidden states RMS-normalised before pooling, or as they are." }),
  policy: policySchema.prefault({ kind: "learned" }).meta({ description: "Who decides which experts are active." }),
  balance: z.number().min(0).default(0.01).meta({ description: "Weight of the load-balancing loss, λ_lb." }),
  accumulate: z.enum(["base", "float32"]).default("base").meta({
    description: "Dtype in which the base module's output and the adapter's are added: the base's, or float32.",
  }),
};

/** MiLoRA: one router a layer reads the prompt once and picks `topK` of the layer's LoRA modules. */
export const miloraMethod = z.strictObject({ kind: z.literal("milora"), ...routedFields });

/** MiDoRA: the same router over DoRA modules. */
export const midoraMethod = z.strictObject({ kind: z.literal("midora"), ...routedFields });

export type MiloraMethod = z.output<typeof miloraMethod>;
export type MidoraMethod = z.output<typeof midoraMethod>;
