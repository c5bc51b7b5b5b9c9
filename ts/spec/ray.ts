import { z } from "zod";

const share = z.number().gt(0).lt(1);

/** The Ray whose tasks a sweep's runs are. */
export const sweepRaySchema = z.strictObject({
  address: z
    .string()
    .min(1)
    .default("auto")
    .meta({ description: "auto (the Ray of this machine), or host:port of a Ray head." }),
  cpusPerRun: z
    .union([z.int().min(1), share])
    .default(1)
    .meta({ description: "CPUs that Ray keeps for a run, and its threads; a part of one is allowed." }),
  gpusPerRun: z
    .union([z.int().min(0), share])
    .nullable()
    .default(null)
    .meta({ description: "GPUs of a run; a part of one is shared with others; null = 1 where Ray has any, else 0." }),
});

/** The settings of a sweep's `ray`, all defaults filled. */
export type SweepRay = z.output<typeof sweepRaySchema>;
