import { z } from "zod";

/** How the frozen model's linear modules are held; the rest of it keeps its dtype. */
export const quantizationSchema = z
  .enum(["none", "nf4", "int8"])
  .default("none")
  .meta({ description: "The frozen linear modules in 4 (QLoRA's NF4) or 8 bits; needs bitsandbytes." });

/** The settings of the training loop; the defaults are the paper's where it names one. */
export const trainSchema = z.strictObject({
  epochs: z.number().positive().default(10).meta({ description: "At most this many passes over the training rows." }),
  maxSteps: z.int().min(1).optional().meta({ description: "At most this many steps; the schedule ends there too." }),
  batchSize: z.int().min(1).optional().meta({ description: "Rows a step; 16 under 10,000 training rows, else 128." }),
  microBatch: z
    .union([z.int().min(1), z.literal("auto")])
    .default(16)
    .meta({
      description:
        "Rows computed at once; changes memory, not results. auto: found by a trial, halved when memory runs out.",
    }),
  gradientCheckpointing: z
    .boolean()
    .default(false)
    .meta({ description: "Computes each layer twice in place of keeping it: less memory, same results." }),
  compile: z.boolean().default(false).meta({
    description:
      "Compiles the decoder's layers by torch.compile: a minute or more before the first step, then faster ones. On a CPU in float32 alone.",
  }),
  learningRate: z.number().positive().default(1e-4).meta({ description: "Of Ω: the peak of the schedule." }),
  activationLearningRate: z
    .number()
    .min(0)
    .default(1e-6)
    .meta({ description: "Learning rate of the activations' coefficients (Θ); 0 = no Θ steps." }),
  activationEvery: z
    .int()
    .min(1)
    .default(1)
    .meta({ description: "Weight steps (Ω) between two activation steps (Θ)." }),
  warmStart: z
    .string()
    .optional()
    .meta({ description: "Folder of an adapter with the same plan that training starts from, or of a run." }),
  trains: z
    .enum(["all", "router"])
    .default("all")
    .meta({ description: "`router`: the experts stay as they are; only poolers, projections and activations train." }),
  bilevel: z
    .enum(["first-order", "second-order"])
    .default("first-order")
    .meta({ description: "Gradient of Θ: at the weights as they are, or through one virtual weight step (DARTS)." }),
  warmup: z.number().min(0).max(1).default(0.06).meta({ description: "Share of the steps with a rising rate." }),
  loraPlusRatio: z
    .number()
    .positive()
    .default(1)
    .meta({ description: "LoRA+: the learning rate of LoRA's B matrices over that of all else." }),
  weightDecay: z.number().min(0).default(0).meta({ description: "AdamW's decoupled weight decay of Ω." }),
  weightDecayOn: z
    .enum(["all", "matrices"])
    .default("all")
    .meta({ description: "What of Ω decays: all, or matrices alone (no bias, no vector). Θ never does." }),
  maxGradientNorm: z.number().positive().nullable().default(1).meta({ description: "null = no clipping." }),
  maxLength: z.int().min(8).default(768).meta({ description: "Tokens of a row, prompt and answer." }),
  evalEvery: z.int().min(1).default(200).meta({ description: "Steps between two dev perplexities." }),
  patience: z
    .int()
    .min(1)
    .default(10)
    .meta({ description: "Evaluations without a lower perplexity before the stop." }),
  checkpointEvery: z.int().min(1).default(200).meta({ description: "Steps between two checkpoints." }),
  keepCheckpoints: z
    .int()
    .min(1)
    .default(2)
    .meta({ description: "The newest so many stay, and that of the best step." }),
  nonFiniteLimit: z
    .int()
    .min(1)
    .default(5)
    .meta({ description: "Steps in a row without a finite loss or gradient that end the run." }),
  stallMinutes: z
    .number()
    .positive()
    .default(10)
    .meta({ description: "Minutes without a step after which the run says that it stalls." }),
  tensorboard: z.boolean().optional().meta({
    description:
      "Also writes the run's figures to `tensorboard/` in its folder; needs the Python package tensorboard.",
  }),
  seed: z.int().min(0).default(0).meta({ description: "Of rows' order, split, initial weights and dropout." }),
  device: z.string().default("auto").meta({ description: "auto, cpu, cuda, cuda:1, mps." }),
  dtype: z
    .enum(["auto", "float32", "bfloat16", "float16"])
    .default("auto")
    .meta({ description: "Of the frozen base model; float16 trains on CUDA alone, with a scaled loss." }),
  quantization: quantizationSchema,
  attention: z.enum(["auto", "eager", "sdpa"]).default("auto").meta({
    description:
      "transformers' attention; auto: eager on a CPU in bfloat16 or float16 and for a model without sdpa, else sdpa.",
  }),
});

/** A run's `train` with all defaults filled. */
export type TrainSettings = z.output<typeof trainSchema>;
