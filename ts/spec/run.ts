import { z } from "zod";
import { dataSchema } from "./data.js";
import { methodSchema } from "./method.js";
import { scaleSchema } from "./scale.js";
import { trainSchema } from "./train.js";

/** The spec of a training run: what a person writes. */
export const runSchema = z
  .strictObject({
    model: z.string().min(1).meta({ description: "A hub id, a folder, a .gguf file, or smollm2-135m." }),
    method: methodSchema,
    data: dataSchema,
    train: trainSchema.prefault({}),
    scale: scaleSchema.optional().meta({ description: "More than one rank, by Ray; without it one process." }),
  })
  .refine(({ train, scale }) => scale?.strategy !== "shard" || !train.compile, {
    path: ["train", "compile"],
    error: 'layers are compiled with scale.strategy "replicate" alone: shard holds them in parts',
  })
  .refine(({ train, scale }) => scale?.strategy !== "shard" || train.microBatch !== "auto", {
    path: ["train", "microBatch"],
    error:
      'auto goes with scale.strategy "replicate" alone: ranks that share a base cannot go on where one ran out of memory; name a number',
  });

/** The spec of a training run, all defaults filled. */
export type RunSpec = z.output<typeof runSchema>;
/** What a person writes: everything with a default may be left out. */
export type RunSpecInput = z.input<typeof runSchema>;
