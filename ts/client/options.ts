import { z } from "zod";
import { dataSchema, type FileDataInput } from "../spec/data.js";
import { methodSchema } from "../spec/method.js";
import { quantizationSchema, trainSchema } from "../spec/train.js";

/** What `openMilora` takes. */
export const openOptionsSchema = z.strictObject({
  model: z.string().min(1).meta({ description: "A hub id, a folder, a .gguf file, or smollm2-135m." }),
  device: z.string().default("auto"),
  dtype: z.enum(["auto", "float32", "bfloat16", "float16"]).default("auto"),
  attention: z.enum(["auto", "eager", "sdpa"]).default("auto"),
  quantization: quantizationSchema,
  seed: z.int().min(0).default(0),
});

export type OpenOptions = z.output<typeof openOptionsSchema>;

/** A run's spec without its model: that is the open session's. */
export const sessionRunSchema = z.strictObject({
  method: methodSchema,
  data: dataSchema,
  train: trainSchema.prefault({}),
});

export type SessionRunInput = z.input<typeof sessionRunSchema>;

/** Rows held by Python: an iterable of `{prompt, answer}` or `{messages}` mappings, as a raw proxy. */
export interface PythonRows {
  readonly python: unknown;
  readonly dev?: FileDataInput["dev"];
  readonly format?: "plain" | "chat";
  readonly limit?: number;
}

/** What `train` and `trainer` take: a run's spec without its model; the rows may be held by Python. */
export type TrainInput = Omit<SessionRunInput, "data"> & { readonly data: SessionRunInput["data"] | PythonRows };
