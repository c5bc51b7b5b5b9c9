import { z } from "zod";
import { manifestSchema } from "./manifest.js";

/** The format of `sweep.json` that this package writes. */
export const sweepFormatVersion = 1;

const trainFigures = manifestSchema.pick({
  versions: true,
  device: true,
  dtype: true,
  plan: true,
  step: true,
  stoppedBy: true,
  best: true,
  tokensPerSecond: true,
  parameters: true,
});

/** What `milora eval --json` says of one task. */
const scoreFigures = z.object({
  task: z.string(),
  version: z.int(),
  scorer: z.string(),
  template: z.string(),
  templateHash: z.string(),
  protocol: z.string(),
  /** Null where answers are to be judged. */
  accuracy: z.number().nullable(),
  accuracySum: z.number().optional(),
  correct: z.int(),
  total: z.int(),
  unparsed: z.int(),
  chance: z.number(),
  majority: z.number(),
  interval: z.tuple([z.number(), z.number()]),
  seconds: z.number(),
  newTokens: z.int().optional(),
  tokensPerSecond: z.number().optional(),
});

export const evaluationFigures = z.object({ results: z.array(scoreFigures) });

/** What a job was done on. */
export const machineSchema = z.object({
  cores: z.int(),
  processor: z.string(),
  platform: z.string(),
  node: z.string(),
});

/** One job of a sweep: a run (trained, then scored), or a group's untuned model (scored). */
const jobRecord = z.object({
  id: z.string(),
  name: z.string(),
  kind: z.enum(["run", "before"]),
  group: z.string(),
  /** What the job differs by, without its seed: a row of the table. */
  row: z.string(),
  seed: z.int().nullable(),
  /** What it is scored on; by its dev perplexity where there is none. */
  tasks: z.array(z.string()),
  /** The job that scored the untuned model. */
  before: z.string().nullable(),
  state: z.enum(["waiting", "running", "stopped", "failed", "finished"]),
  /** Child processes that were started for it in vain or not, over all restarts. */
  attempts: z.int(),
  error: z.string().nullable(),
  finished: z.string().nullable(),
  /** Seconds of its tries, those that were killed left out; records of older versions have none. */
  seconds: z.number().nullable().default(null),
  machine: machineSchema.nullable(),
  train: trainFigures.nullable(),
  scores: z.array(scoreFigures).nullable(),
});

/** `sweep.json`: every job there ever was in the folder; a finished one is never written again. */
export const sweepRecordSchema = z.object({
  format: z.literal(sweepFormatVersion),
  name: z.string(),
  description: z.string().nullable(),
  model: z.string(),
  created: z.string(),
  /** The row that the others are compared with; null = the first of each group, as in records of older versions. */
  reference: z.string().nullable().default(null),
  /** Ids of the jobs that the spec names now, in its order. */
  plan: z.array(z.string()),
  jobs: z.array(jobRecord),
});

export type SweepRecord = z.output<typeof sweepRecordSchema>;
export type SweepJobRecord = z.output<typeof jobRecord>;
export type TrainFigures = z.output<typeof trainFigures>;
export type ScoreFigures = z.output<typeof scoreFigures>;
export type Machine = z.output<typeof machineSchema>;
