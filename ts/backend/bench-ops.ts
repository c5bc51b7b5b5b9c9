import { z } from "zod";
import { count } from "./fields.js";

const plan = z.record(z.string(), z.json());
const size = {
  /** Tokens of each row; the last eighth is the answer. */
  tokens: z.int().min(2),
  /** Rows of a step. */
  batch: z.int().min(1).default(16),
};

/** One line of the bench of training. */
export const trainBenchRow = z.object({
  method: z.string(),
  /** `hf-trainer`: transformers' Trainer with PEFT's LoRA. */
  engine: z.enum(["milora", "hf-trainer"]),
  attention: z.string(),
  tokensPerRow: count,
  /** By the median step. */
  tokensPerSecond: z.number(),
  /** The Trainer's step, with the attention that transformers picks, over this one's: median of the rounds' ratios. */
  ratioToPeer: z.number(),
  /** The same against the Trainer with eager attention. */
  ratioToEagerPeer: z.number(),
  /** This step over that of our LoRA; null for the Trainer, or where our LoRA is not measured. */
  stepToLora: z.number().nullable(),
  /** The most that adapter, optimiser and a step take above the loaded model, in a process of its own. */
  peakBytes: count,
});

/** Operations that measure; the model must be open, without adapters. */
export const benchOps = {
  /** Steps of our methods and of transformers' Trainer in turn, on the same rows. */
  benchTrain: {
    input: z.object({
      methods: z
        .array(
          z.object({
            method: z.string().min(1),
            config: plan,
            balance: z.number().nonnegative().default(0),
            /** It counts the steps of a budget (AdaLoRA). */
            scheduled: z.boolean().default(false),
          }),
        )
        .min(1),
      /** The plan of the Trainer's LoRA. */
      peer: plan,
      ...size,
      /** Measured steps of each engine, after one that is not. */
      rounds: z.int().min(1),
    }),
    output: z.object({ rows: z.array(trainBenchRow) }),
  },
  /** The losses of so many steps of LoRA by our session and by transformers' Trainer, from the same start. */
  trainCurves: {
    input: z.object({ config: plan, ...size, steps: z.int().min(1) }),
    output: z.object({ milora: z.array(z.number()), hfTrainer: z.array(z.number()) }),
  },
} as const;
