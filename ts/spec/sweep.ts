import { z } from "zod";
import { sweepRaySchema } from "./ray.js";

const fields = z.record(z.string(), z.json());

/** Part of a run's spec. Its fields are checked when the runs are expanded, by the run's own schema. */
const partialRun = z.strictObject({
  model: z.string().min(1).optional(),
  method: fields.optional(),
  data: fields.optional(),
  train: fields.optional(),
});

const axes = z.record(z.string().min(1), z.array(z.json()).min(1)).meta({
  description:
    "Path of the run's spec (`method`, `train.seed`, `data.limit`) → its values; every combination is a run. `train.seed` repeats: its values are summed up in one row of the table. `variant`: each value is a part of a run's spec with an optional `name`, for what differs in several fields at once.",
});

const evaluation = z.strictObject({
  tasks: z.array(z.string().min(1)).min(1),
  scorer: z.enum(["generate", "label", "loglik"]).default("generate"),
  template: z.string().optional().meta({ description: "One of the tasks' templates; each one's first by default." }),
  beams: z.int().min(1).default(1),
  limit: z.int().min(1).optional().meta({ description: "Only the first test rows." }),
  maxNewTokens: z.int().min(1).optional().meta({ description: "The longest answer; by default the task's." }),
});

const group = z.strictObject({
  name: z.string().regex(/^[\w.-]+$/, "letters, digits, dots, dashes and underscores"),
  spec: partialRun.optional().meta({ description: "Laid over the sweep's `spec`." }),
  axes: axes.optional().meta({ description: "Laid over the sweep's `axes`: the same path has this group's values." }),
  evaluate: evaluation.optional().meta({
    description: "How the runs and the untuned model are scored; without it the best dev perplexity is the result.",
  }),
});

/** The spec of a sweep: groups of runs, each the combinations of its axes. */
export const sweepSchema = z.strictObject({
  name: z.string().min(1),
  description: z.string().optional(),
  model: z.string().min(1).meta({ description: "A hub id, a folder, a .gguf file, or smollm2-135m." }),
  spec: partialRun.optional().meta({ description: "What all runs share." }),
  axes: axes.optional().meta({ description: "Axes of every group." }),
  groups: z.array(group).min(1),
  reference: z.string().min(1).optional().meta({
    description:
      "Row of the tables that the others are compared with, on the same rows and seeds; by default each group's first.",
  }),
  ray: sweepRaySchema.optional().meta({
    description: "Each run is a task of this Ray; without it a process of this machine. `--ray` sets it too.",
  }),
});

export type SweepSpec = z.output<typeof sweepSchema>;
export type SweepGroup = SweepSpec["groups"][number];
export type SweepEvaluation = z.output<typeof evaluation>;
