import { z } from "zod";

/** The format of a result's record that this package writes. */
export const resultFormatVersion = 1;

/** What a result was made with and when: all that its protocol does not say. */
export const resultRecordSchema = z.object({
  /** Older records have none. */
  format: z.literal(resultFormatVersion).optional(),
  /** As it was named: a hub id, a folder, a `.gguf` file, or `smollm2-135m`. */
  model: z.string(),
  /** The adapter's folder, or the name it was loaded under; null for the base model. */
  adapter: z.string().nullable(),
  /** The session's seed. */
  seed: z.int(),
  /** The seed that the adapter was trained with, where it lies in a run's folder. */
  trainingSeed: z.int().nullable(),
  /** The training's spec with all defaults, and the checksum of its plan: of an adapter in a run's folder. */
  spec: z.record(z.string(), z.json()).nullable().optional(),
  /** The checksum of the plan of an adapter in a run's folder. */
  plan: z.string().nullable().optional(),
  /** Where the model ran. */
  device: z.string(),
  /** What the model was held in. */
  dtype: z.string(),
  /** How the base model's weights are held; older records do not say. */
  quantization: z.string().optional(),
  /** Of milora, Node, Python and its packages. */
  versions: z.record(z.string(), z.string()),
  /** When the last row was scored, ISO 8601. */
  date: z.string(),
});

/** What a result was made with and when. */
export type ResultRecord = z.output<typeof resultRecordSchema>;
