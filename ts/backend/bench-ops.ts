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
  /** The kind of the method. */
  method: z.string(),
  /** `hf-trainer`: transformers' Trainer with PEFT's LoRA. */
  engine: z.enum(["milora", "hf-trainer"]),
  /** Whether the decoder's layers are compiled; false for the Trainer. */
  compiled: z.boolean(),
  /** `eager` or `sdpa`. */
  attention: z.string(),
  /** Tokens of a row. */
  tokensPerRow: count,
  /** By the median step. */
  tokensPerSecond: z.number(),
  /** The Trainer's step, with the attention that transformers picks, over this one's: median of the rounds' ratios. */
  ratioToPeer: z.number(),
  /** The same against the Trainer with eager attention. */
  ratioToEagerPeer: z.number(),
  /** This step over that of our LoRA, compiled alike; null for the Trainer, or where our LoRA is not measured. */
  stepToLora: z.number().nullable(),
  /** The most that adapter, optimiser and a step take above the loaded model, in its own process; null: compiled. */
  peakBytes: count.nullable(),
});

/** One line of the bench of decoding: a prompt's text by one method, with so many beams. */
export const decodeBenchRow = z.object({
  /** `base`: no adapter. `dora-uncached`: DoRA whose norms PEFT computes at every token. */
  method: z.string(),
  /** Active experts of a layer, where a prompt chooses them. */
  topK: z.int().min(1).nullable(),
  /** The folder of a trained adapter; null: a made-up one. */
  adapter: z.string().nullable(),
  /** Beams of the search. */
  beams: z.int().min(1),
  /** `hf`: transformers' `generate`. */
  engine: z.enum(["milora", "hf"]),
  /** Whether our engine's decode step is compiled; false for `hf`. */
  compiled: z.boolean(),
  /** Why transformers' `generate` stands where our engine should; null otherwise. */
  hfBecause: z.string().nullable(),
  /** Tokens of the text a second, behind the second one, whatever the beams: by the median round. */
  tokensPerSecond: z.number(),
  /** Against the base with the same beams in the same engine, compiled alike: median of the rounds' ratios. */
  ratioToBase: z.number(),
  /** Against transformers' base with the same beams; null where that is not measured. */
  ratioToHfBase: z.number().nullable(),
  /** The prompt, its decisions, and all that is made once for a text; the median. */
  prefillSeconds: z.number(),
  /** Fewer than asked for where the time of the row ran out. */
  newTokens: count,
  /**
   * Whether the other engine wrote the same tokens, of a compiled row the engine that is not; null where it is not
   * measured. In float32 they must be the same.
   */
  sameTokens: z.boolean().nullable(),
  /** The most that the row takes above the loaded model, in a process of its own; null where it is not measured. */
  peakBytes: count.nullable(),
});

/** One line of the bench of tenants: a batch in which each tenant has an adapter of its own. */
export const tenantBenchRow = z.object({
  /** The kind of the tenants' adapters. */
  method: z.string(),
  /** Active experts of a layer, where a prompt chooses them. */
  topK: z.int().min(1).nullable(),
  /** Tenants of the batch. */
  tenants: z.int().min(1),
  /** Rows of each. */
  rowsPerTenant: z.int().min(1),
  /** `peft`: transformers' `generate` with PEFT's `adapter_names`. */
  engine: z.enum(["milora", "peft"]),
  /** Of all rows together, behind each one's second token. */
  tokensPerSecond: z.number(),
  /** Our engine's base at the same batch. */
  baseTokensPerSecond: z.number(),
  /** Against our engine's base at the same batch, whichever engine this is: median of the rounds' ratios. */
  ratioToBase: z.number(),
  /** Against PEFT's LoRAs at the same batch; null where they are not measured. */
  ratioToPeft: z.number().nullable(),
  /** Tokens of a text. */
  newTokens: count,
  /** Whether PEFT wrote the same tokens with the same LoRAs; null for other methods. */
  sameTokens: z.boolean().nullable(),
  /** What a step must read at least, by arithmetic. */
  stepBytes: z.object({
    /** The base's weights. */
    base: count,
    /** The modules that any row of their tenant chose. */
    adapters: count,
    /** Keys and values in the middle of the text. */
    keysAndValues: count,
  }),
  /** `ratioToBase` if those bytes were all that counts. */
  expectedRatio: z.number(),
});

/** An adapter that decodes. */
const decodeMethod = z.object({
  method: z.string().min(1),
  topK: z.int().min(1).nullable().default(null),
  config: plan,
  /** Whether DoRA's norms are computed once a text. */
  cachesNorms: z.boolean().default(true),
});

const texts = {
  promptTokens: z.int().min(1),
  /** No token ends a text early. */
  newTokens: z.int().min(3),
  /** Measured texts of each row, after one that is not. */
  rounds: z.int().min(1),
  /** The most that a row's texts may take together; they are cut short there. */
  rowSeconds: z.number().positive(),
};

/** Why our engine runs each row by itself through transformers' forward pass; null: it does not. */
const slowBecause = z.string().nullable();

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
      /** Whether each of our methods is measured with its layers compiled too. */
      compile: z.boolean().default(false),
    }),
    output: z.object({ rows: z.array(trainBenchRow) }),
  },
  /** One prompt's texts by each method and the base, in turn. */
  benchDecode: {
    input: z.object({
      methods: z.array(decodeMethod),
      /** Folders of trained adapters, a method each. */
      adapters: z.array(z.string()).default([]),
      beams: z.array(z.int().min(1)).min(1),
      /** Whether each row is measured in transformers' `generate` too. */
      peer: z.boolean().default(false),
      /** Whether each of our engine's rows is measured compiled too. */
      compile: z.boolean().default(false),
      /** Whether memory is measured, in a process for each row. */
      peak: z.boolean().default(true),
      ...texts,
    }),
    output: z.object({ rows: z.array(decodeBenchRow), slowBecause }),
  },
  /** Batches of many tenants by each method and the base, in turn. */
  benchTenants: {
    input: z.object({
      methods: z.array(decodeMethod).min(1),
      /** The plan of PEFT's LoRAs; without it they are not measured. */
      peer: plan.optional(),
      tenants: z.array(z.int().min(1)).min(1),
      rowsPerTenant: z.array(z.int().min(1)).min(1),
      ...texts,
    }),
    output: z.object({
      /** What was measured. */
      rows: z.array(tenantBenchRow),
      /** What could not be measured, and why. */
      skipped: z.array(
        z.object({
          /** Tenants of the batch. */
          tenants: z.int(),
          /** The engine that would have written it. */
          engine: z.enum(["milora", "peft"]),
          /** Why it was not measured. */
          reason: z.string(),
        }),
      ),
      slowBecause,
    }),
  },
  /** The losses of so many steps of LoRA by our session and by transformers' Trainer, from the same start. */
  trainCurves: {
    input: z.object({ config: plan, ...size, steps: z.int().min(1) }),
    output: z.object({ milora: z.array(z.number()), hfTrainer: z.array(z.number()) }),
  },
} as const;
