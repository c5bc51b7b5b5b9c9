import { z } from "zod";

/** Where a model runs: without it in one Python process, else on ranks that are actors of Ray. */
export const scaleSchema = z.strictObject({
  ranks: z
    .int()
    .min(1)
    .default(1)
    .meta({ description: "Processes that share each step's rows; 1 without an address needs no Ray." }),
  gpusPerRank: z
    .int()
    .min(0)
    .max(1)
    .nullable()
    .default(null)
    .meta({ description: "GPUs of a rank; null = 1 where Ray has any, else 0." }),
  cpusPerRank: z
    .number()
    .positive()
    .default(1)
    .meta({ description: "CPUs that Ray keeps for a rank, and its threads; parts are allowed." }),
  strategy: z.enum(["replicate", "shard"]).default("replicate").meta({
    description:
      "replicate: every rank holds the whole base model. shard: each holds a part of its layers, by FSDP2; slower, for a base that does not fit.",
  }),
  address: z.string().min(1).nullable().default(null).meta({
    description:
      "auto (the Ray of this machine), host:port of a Ray head; null = one is started here for the session.",
  }),
  waitMinutes: z
    .number()
    .min(0)
    .default(0)
    .meta({ description: "How long to wait until Ray has room; 0 = an error at once." }),
});

/** The settings of `scale`, all defaults filled. */
export type ScaleSettings = z.output<typeof scaleSchema>;
