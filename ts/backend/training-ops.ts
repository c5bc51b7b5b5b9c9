import { z } from "zod";
import { adapterName, count, rowIndices } from "./fields.js";

const stepFigures = z.object({
  kind: z.enum(["weights", "activation"]),
  /** Mean cross entropy of an answer token, nats; null where it was not finite. */
  loss: z.number().nullable(),
  /** Balance loss, mean over layers; null for a method without routers. */
  balance: z.number().nullable(),
  /** Norm of the gradient before clipping; null where it was not finite. */
  gradientNorm: z.number().nullable(),
  answerTokens: count,
  /** All tokens that were not padding. */
  tokens: count,
});

/** The operations of a training: its steps, its figures, and what a checkpoint holds. */
export const trainingOps = {
  startTraining: {
    input: z.object({
      adapter: adapterName,
      /** Rows computed at once; a step's gradient is the same for any value. */
      microBatch: count.min(1).default(16),
      /** Computes each layer twice in place of keeping what backward needs of it. */
      gradientCheckpointing: z.boolean().default(false),
      /**
       * Compiles the decoder's layers by torch.compile. Errors: `input/invalid-spec` in bf16 or fp16 on a CPU;
       * `model/unsupported` for a base in parts; `environment/missing-package` without a C++ compiler.
       */
      compile: z.boolean().default(false),
      /** LoRA+: the rate of LoRA's B matrices over that of all else. */
      loraPlusRatio: z.number().positive().default(1),
      weightDecay: z.number().nonnegative().default(0),
      /** `matrices`: parameters with one dimension do not decay. */
      weightDecayOn: z.enum(["all", "matrices"]).default("all"),
      betas: z.tuple([z.number(), z.number()]).default([0.9, 0.999]),
      epsilon: z.number().positive().default(1e-8),
      maxGradientNorm: z.number().positive().nullable().default(1),
      /** The weight of the balance loss; without meaning for a method without routers. */
      balance: z.number().nonnegative().default(0),
      seed: count.default(0),
    }),
    output: z.object({ weights: count, activation: count }),
  },
  /** How many rows are computed at once from now on. */
  setMicroBatch: { input: z.object({ rows: z.int().min(1) }), output: z.object({}) },
  /** The gradients of rows, all at once, thrown away: what memory does a step of so many rows take? */
  trialStep: {
    input: z.object({ data: z.string(), rows: rowIndices }),
    output: z.object({
      /** The most that the step took above what was in use before it. */
      usedBytes: count,
      /** What is free for a step now; null where the system does not say. */
      freeBytes: count.nullable(),
    }),
  },
  /** One AdamW step on Ω (all that trains but the activations' coefficients); returns at once on a GPU. */
  weightsStep: {
    input: z.object({
      data: z.string(),
      rows: rowIndices,
      learningRate: z.number().nonnegative(),
      /** For a method with a budget schedule (AdaLoRA): the step of it, from 1; null for all others. */
      budgetStep: z.int().min(1).nullable().default(null),
    }),
    output: z.object({}),
  },
  /** One AdamW step on Θ: learned activations' coefficients, or what a search decides by. */
  activationStep: {
    input: z.object({
      data: z.string(),
      rows: rowIndices,
      learningRate: z.number().nonnegative(),
      /** Second order (DARTS): the weight step that Θ's gradient looks through; null = first order. */
      virtualStep: z
        .object({ data: z.string(), rows: rowIndices, learningRate: z.number().positive() })
        .nullable()
        .default(null),
    }),
    output: z.object({}),
  },
  /** One step of a search: drops the weakest candidate of each place; gives how many are left there at most. */
  pruneCandidates: { input: z.object({ adapter: adapterName }), output: z.object({ left: count }) },
  /** What a search found: the `adapter_config.json` of the kept candidates alone, to be attached and trained anew. */
  discretise: {
    input: z.object({ adapter: adapterName }),
    output: z.object({ config: z.record(z.string(), z.json()) }),
  },
  /** The figures of every step since the last call, oldest first. */
  trainingFigures: { input: z.object({}), output: z.object({ steps: z.array(stepFigures) }) },
  saveTraining: { input: z.object({ folder: z.string() }), output: z.object({ bytes: count }) },
  loadTraining: { input: z.object({ folder: z.string() }), output: z.object({}) },
  stopTraining: { input: z.object({}), output: z.object({}) },
} as const;
