import { z } from "zod";
import { dataSchema, type FileDataInput } from "../spec/data.js";
import { methodSchema } from "../spec/method.js";
import { scaleSchema } from "../spec/scale.js";
import { quantizationSchema, trainSchema } from "../spec/train.js";

/** What `openMilora` takes. */
export const openOptionsSchema = z.strictObject({
  model: z.string().min(1).meta({ description: "A hub id, a folder, a .gguf file, or smollm2-135m." }),
  device: z.string().default("auto").meta({ description: "auto, cpu, cuda, cuda:1, mps." }),
  dtype: z
    .enum(["auto", "float32", "bfloat16", "float16"])
    .default("auto")
    .meta({ description: "What the model is held in; auto: bfloat16 where the device is fast with it." }),
  attention: z.enum(["auto", "eager", "sdpa"]).default("auto").meta({
    description:
      "transformers' attention; auto: eager on a CPU in bfloat16 or float16 and for a model without sdpa, else sdpa.",
  }),
  quantization: quantizationSchema,
  seed: z.int().min(0).default(0).meta({ description: "Of new adapters' weights and all else that is drawn." }),
  scale: scaleSchema.optional(),
});

/** The settings of a session, with their defaults. */
export type OpenOptions = z.output<typeof openOptionsSchema>;

/** A run's spec without its model: that is the open session's. */
export const sessionRunSchema = z.strictObject({
  method: methodSchema,
  data: dataSchema,
  train: trainSchema.prefault({}),
});

/** A run's spec without its model. */
export type SessionRunInput = z.input<typeof sessionRunSchema>;

/** Rows held by Python: an iterable of `{prompt, answer}` or `{messages}` mappings, as a raw proxy. */
export interface PythonRows {
  /** The raw proxy of the iterable. */
  readonly python: unknown;
  /** A file of dev rows, or the share of the rows that is split off by seed; `{ split: 0.1 }` by default. */
  readonly dev?: FileDataInput["dev"];
  /** `chat` puts a prompt into the checkpoint's chat template; `plain` by default. */
  readonly format?: "plain" | "chat";
  /** Training rows used, the first ones after the seeded shuffle; all by default. */
  readonly limit?: number;
}

/** What `train` and `trainer` take: a run's spec without its model; the rows may be held by Python. */
export type TrainInput = Omit<SessionRunInput, "data"> & {
  /** A run's data, or rows that Python holds. */
  readonly data: SessionRunInput["data"] | PythonRows;
};
