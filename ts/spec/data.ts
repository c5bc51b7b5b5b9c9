import { z } from "zod";

const devSplit = z.strictObject({
  split: z.number().gt(0).lt(1).meta({ description: "Share of the training rows split off, by seed." }),
});

const shared = {
  format: z
    .enum(["plain", "chat"])
    .default("plain")
    .meta({ description: "`chat` puts a prompt into the checkpoint's chat template; chat rows always are." }),
  limit: z
    .int()
    .min(1)
    .optional()
    .meta({ description: "Training rows used, the first ones after the seeded shuffle." }),
};

/** Rows of one of the built-in tasks. */
export const taskData = z.strictObject({
  task: z.string().min(1),
  template: z.string().optional().meta({ description: "One of the task's templates; its first one by default." }),
  dir: z.string().optional().meta({ description: "Folder that holds one folder a task." }),
  dev: devSplit.optional().meta({ description: "Without it a task's own dev set, else 10 % of the training rows." }),
  ...shared,
});

/** Rows of files: LLM-Adapters JSON, JSONL or CSV of `{prompt, answer}`, chat JSONL (`messages`). */
export const fileData = z.strictObject({
  train: z.string().min(1),
  dev: z.union([z.string().min(1), devSplit]).default({ split: 0.1 }),
  ...shared,
});

export const dataSchema = z.union([taskData, fileData]);

export type TaskData = z.output<typeof taskData>;
export type FileData = z.output<typeof fileData>;
export type FileDataInput = z.input<typeof fileData>;
export type DataSpec = z.output<typeof dataSchema>;
