import { z } from "zod";

const devSplit = z.strictObject({
  split: z.number().gt(0).lt(1).meta({ description: "Share of the training rows split off, by seed." }),
});
const devFile = z.string().min(1);
const defaultDev = { split: 0.1 };

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

const hubId = z
  .string()
  .regex(/^[A-Za-z0-9][\w.-]*(\/[\w.-]+)?$/, "a data set's id on the hub: owner/name")
  .meta({ description: "A data set's id on the hub: owner/name." });
const config = z.string().min(1).meta({ description: "The data set's config; its default one where there is one." });
const revision = z.string().min(1).meta({ description: "A branch, tag or commit; the commit is recorded." });

/** Another source on the hub than the one that a task names; what is left out stays the task's. */
export const hubChoice = z.strictObject({
  id: hubId.optional(),
  config: config.optional(),
  revision: revision.optional(),
});

/** Rows of one of the built-in tasks. */
export const taskData = z.strictObject({
  task: z.string().min(1).meta({ description: "A built-in task; `milora tasks` lists them." }),
  template: z.string().optional().meta({ description: "One of the task's templates; its first one by default." }),
  dir: z
    .string()
    .optional()
    .meta({ description: "Folder that holds one folder a task; what it lacks is fetched from the hub." }),
  hub: hubChoice.optional().meta({ description: "Takes the rows from the hub, whatever `dir` holds." }),
  dev: devSplit.optional().meta({ description: "Without it a task's own dev set, else 10 % of the training rows." }),
  ...shared,
});

/** Rows of files: LLM-Adapters JSON, JSONL or CSV of `{prompt, answer}`, chat JSONL (`messages`). */
export const fileData = z.strictObject({
  train: z.string().min(1).meta({ description: "The file of the training rows." }),
  dev: z
    .union([devFile, devSplit])
    .default(defaultDev)
    .meta({ description: "The file of the dev rows, or the share that is split off." }),
  ...shared,
});

/** Rows of any data set on the hub. */
export const hubData = z.strictObject({
  hub: hubId,
  config: config.optional(),
  split: z.string().min(1).default("train").meta({ description: "The split to train on." }),
  devSplit: z.string().min(1).optional().meta({ description: "The split to watch, in place of `dev`." }),
  revision: revision.default("main"),
  columns: z
    .strictObject({
      prompt: z.string().min(1).meta({ description: "The column of the prompts." }),
      answer: z.string().min(1).meta({ description: "The column of the answers." }),
    })
    .meta({ description: "The columns that hold the texts of prompt and answer." }),
  dev: devSplit
    .default(defaultDev)
    .meta({ description: "The share that is split off, where no `devSplit` is named." }),
  ...shared,
});

/** One source of a mix; without `dev`, the mix says what is split off it. */
const mixSource = z.union([
  taskData,
  fileData.extend({
    dev: z
      .union([devFile, devSplit])
      .optional()
      .meta({ description: "The file of the dev rows, or the share that is split off." }),
  }),
  hubData.extend({
    dev: devSplit.optional().meta({ description: "The share that is split off, where no `devSplit` is named." }),
  }),
]);

const mixed = {
  mix: z.array(mixSource).min(2).meta({ description: "The sources; each keeps a dev set of its own." }),
  dev: devSplit
    .optional()
    .meta({ description: "Of sources that name no `dev` and have no dev set; 10 % by default." }),
};

/** Rows of several sources, as many of each as it has, or that in proportion. */
const mixByRows = z.strictObject({
  ...mixed,
  by: z.literal("rows").default("rows").meta({ description: "Shares in proportion to the sources' rows." }),
  rows: z.int().min(1).optional().meta({ description: "Training rows in all; every row by default." }),
});

/** Rows of several sources, of n rows n^(1/temperature) shares. */
const mixByTemperature = z.strictObject({
  ...mixed,
  by: z.literal("temperature").meta({ description: "Shares in proportion to n^(1/temperature) of n rows." }),
  temperature: z
    .number()
    .positive()
    .default(2)
    .meta({ description: "1 = in proportion to the rows; the higher, the more alike the shares." }),
  rows: z
    .int()
    .min(1)
    .optional()
    .meta({ description: "Training rows in all; as many as the sources have by default. Small sources repeat." }),
});

/** Where the rows are from: a task, files, a data set on the hub, or a mix. */
export const dataSchema = z.union([taskData, fileData, hubData, mixByRows, mixByTemperature]);

/** Another source on the hub than the one that a task names. */
export type HubChoice = z.output<typeof hubChoice>;
export type TaskData = z.output<typeof taskData>;
export type FileData = z.output<typeof fileData>;
export type FileDataInput = z.input<typeof fileData>;
export type HubData = z.output<typeof hubData>;
export type MixSource = z.output<typeof mixSource>;
export type MixData = z.output<typeof mixByRows> | z.output<typeof mixByTemperature>;
export type DataSpec = z.output<typeof dataSchema>;
