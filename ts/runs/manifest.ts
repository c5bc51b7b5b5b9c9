import { z } from "zod";
import { runSchema } from "../spec/run.js";

/** The format of a run folder that this package writes. */
export const runFormatVersion = 1;

/** `run.json`: what the run is and how it stands. */
export const manifestSchema = z.object({
  format: z.int(),
  state: z.enum(["running", "finished", "stopped", "failed"]),
  created: z.string(),
  updated: z.string(),
  versions: z.record(z.string(), z.string()),
  device: z.string(),
  dtype: z.string(),
  /** The spec with all defaults filled in. */
  spec: runSchema,
  /** Checksum of the adapter's plan, `plan/adapter_config.json`; records of older versions have none. */
  plan: z.string().optional(),
  /** Checksums of the tokenised rows, and their form: a resumed run must see the same. */
  data: z.object({
    train: z.string(),
    dev: z.string(),
    format: z.enum(["plain", "chat"]),
    /** Checksums of the rows as they were read from their source; records of older versions have none. */
    source: z.object({ train: z.string(), dev: z.string() }).optional(),
  }),
  /** The run that this one continues: its folder and the step of the adapter that training started from. */
  parent: z.object({ run: z.string(), step: z.int().nullable() }).nullable().default(null),
  /** What was changed, by name, when the run was resumed. */
  changes: z.array(z.object({ step: z.int(), changed: z.array(z.string()) })).default([]),
  step: z.int(),
  stoppedBy: z.string().nullable(),
  /** Updates that were skipped because loss or gradient was not finite. */
  skipped: z.int().default(0),
  best: z.object({ step: z.int(), devPerplexity: z.number() }).nullable(),
  tokensPerSecond: z.number().nullable(),
  /** What trains, and what of the adapter modules a prompt activates; records of older versions have none. */
  parameters: z
    .object({ trainable: z.int(), activated: z.object({ min: z.number(), mean: z.number(), max: z.number() }) })
    .optional(),
  error: z.string().nullable().default(null),
});

export type Manifest = z.output<typeof manifestSchema>;
