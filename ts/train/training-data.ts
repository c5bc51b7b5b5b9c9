import { join } from "node:path";
import { readRows } from "../data/read-rows.js";
import type { Row } from "../data/row.js";
import { splitRows } from "../data/split.js";
import { writeRows } from "../data/write-rows.js";
import { MiloraError } from "../errors.js";
import type { DataSpec, FileData, TaskData } from "../spec/data.js";
import { countDuplicates } from "../tasks/duplicates.js";
import { loadIfThere, taskByName } from "../tasks/registry.js";
import { taskRows, templateOf, type SplitName, type Task } from "../tasks/task.js";
import { shuffled } from "../util/random.js";

/** Rows to train on and rows to watch, with where they come from. */
export interface TrainingData {
  readonly train: readonly Row[];
  readonly dev: readonly Row[];
  /** One sentence on the dev set, such as that it was split off the training rows. */
  readonly devSource: string;
  readonly format: "plain" | "chat";
  /** What is odd about the rows, a sentence each. */
  readonly warnings: readonly string[];
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

/** A test row that was trained on says less; the rows are used all the same, as others use them. */
const duplicateWarnings = (task: Task, train: readonly unknown[], test: readonly unknown[]): readonly string[] => {
  const count = countDuplicates(task, train, test);
  return count === 0 ? [] : [`${count} of the ${test.length} test rows of ${task.name} are training rows too.`];
};

const loadTask = async (data: TaskData, seed: number): Promise<TrainingData> => {
  const task = taskByName(data.task);
  const template = templateOf(task, data.template);
  const load = async (split: SplitName) => await task.load({ dir: data.dir, split, seed });
  const examples = await load("train");
  const test = (await loadIfThere(task, { dir: data.dir, split: "test", seed })) ?? [];
  const warnings = duplicateWarnings(task, examples, test);
  const { rows, chat } = taskRows(task, examples, template);
  const train = limited(rows, data.limit, seed);
  const format = chat ? "chat" : data.format;
  if (data.dev === undefined && task.splits.includes("dev")) {
    const dev = taskRows(task, await load("dev"), template).rows;
    return { train, dev, devSource: `the ${dev.length} dev rows of ${task.name}`, format, warnings };
  }
  return { ...splitOff(train, data.dev?.split ?? defaultSplit, seed), format, warnings };
};

const fileRows = async (data: FileData, seed: number): Promise<TrainingData> => {
  const rows = limited(await readRows(data.train), data.limit, seed);
  if (typeof data.dev !== "string")
    return { ...splitOff(rows, data.dev.split, seed), format: data.format, warnings: [] };
  const dev = await readRows(data.dev);
  return { train: rows, dev, devSource: `the ${dev.length} rows of ${data.dev}`, format: data.format, warnings: [] };
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
