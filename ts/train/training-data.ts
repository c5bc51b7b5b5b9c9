import { join } from "node:path";
import { readRows } from "../data/read-rows.js";
import type { Row } from "../data/row.js";
import { splitRows } from "../data/split.js";
import { writeRows } from "../data/write-rows.js";
import { MiloraError } from "../errors.js";
import type { DataSpec, FileData, TaskData } from "../spec/data.js";
import { taskByName } from "../tasks/registry.js";
import { taskRows, templateOf, type SplitName } from "../tasks/task.js";
import { shuffled } from "../util/random.js";

/** Rows to train on and rows to watch, with where they come from. */
export interface TrainingData {
  readonly train: readonly Row[];
  readonly dev: readonly Row[];
  /** One sentence on the dev set, such as that it was split off the training rows. */
  readonly devSource: string;
  readonly format: "plain" | "chat";
}

const defaultSplit = 0.1;

const limited = (rows: readonly Row[], limit: number | undefined, seed: number): readonly Row[] =>
  limit === undefined || limit >= rows.length ? rows : shuffled(rows, seed).slice(0, limit);

const splitOff = (rows: readonly Row[], share: number, seed: number) => {
  if (rows.length < 2)
    throw new MiloraError(
      "data/empty",
      `A dev set can't be split off ${rows.length} training row(s); two are the least.`,
      {
        found: String(rows.length),
        allowed: "2 or more training rows, or a dev file",
        path: "data.dev",
      },
    );
  const { train, dev } = splitRows(rows, { share, seed });
  return { train, dev, devSource: `${dev.length} of ${rows.length} training rows split off by seed ${seed}` };
};

const loadTask = async (data: TaskData, seed: number): Promise<TrainingData> => {
  const task = taskByName(data.task);
  const template = templateOf(task, data.template);
  const load = async (split: SplitName) => taskRows(task, await task.load({ dir: data.dir, split, seed }), template);
  const { rows, chat } = await load("train");
  const train = limited(rows, data.limit, seed);
  const format = chat ? "chat" : data.format;
  if (data.dev === undefined && task.splits.includes("dev")) {
    const dev = (await load("dev")).rows;
    return { train, dev, devSource: `the ${dev.length} dev rows of ${task.name}`, format };
  }
  return { ...splitOff(train, data.dev?.split ?? defaultSplit, seed), format };
};

const fileRows = async (data: FileData, seed: number): Promise<TrainingData> => {
  const rows = limited(await readRows(data.train), data.limit, seed);
  if (typeof data.dev !== "string") return { ...splitOff(rows, data.dev.split, seed), format: data.format };
  const dev = await readRows(data.dev);
  return { train: rows, dev, devSource: `the ${dev.length} rows of ${data.dev}`, format: data.format };
};

/** Reads, limits and splits the rows that a spec names; every malformed row is an error before any training. */
export const loadTrainingData = async (data: DataSpec, seed: number): Promise<TrainingData> =>
  "task" in data ? loadTask(data, seed) : fileRows(data, seed);

/** Writes both sets as JSONL for the Python side; returns the two files. */
export const writeTrainingData = async (
  data: TrainingData,
  folder: string,
): Promise<{ readonly train: string; readonly dev: string }> => {
  const files = { train: join(folder, "train.jsonl"), dev: join(folder, "dev.jsonl") };
  await writeRows(files.train, data.train);
  await writeRows(files.dev, data.dev);
  return files;
};
