import { hubRecordText, neededHub, type Hub, type HubRecord } from "../data/hub.js";
import { readHubRows } from "../data/hub-rows.js";
import { readRows } from "../data/read-rows.js";
import type { Row } from "../data/row.js";
import { splitRows } from "../data/split.js";
import { MiloraError } from "../errors.js";
import type { DataSpec, FileData, HubData, TaskData } from "../spec/data.js";
import { countDuplicates } from "../tasks/duplicates.js";
import { loadSplit, loadSplitIfThere } from "../tasks/load-split.js";
import { taskByName } from "../tasks/registry.js";
import { taskRows, templateOf, type SplitName, type Task } from "../tasks/task.js";
import { shuffled } from "../util/random.js";

/** Rows to train on and rows to watch, with where they come from. */
export interface TrainingData {
  readonly train: readonly Row[];
  readonly dev: readonly Row[];
  /** One sentence on the dev set, such as that it was split off the training rows. */
  readonly devSource: string;
  readonly format: "plain" | "chat";
  /** What there is to know about the rows, a sentence each: duplicates, a source on the hub, the shares of a mix. */
  readonly warnings: readonly string[];
}

export interface LoadingOptions {
  readonly seed: number;
  readonly hub: Hub | undefined;
}

export const defaultDevShare = 0.1;

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

const hubSentence = (what: string, record: HubRecord | undefined): readonly string[] =>
  record === undefined ? [] : [`The ${what} rows come from ${hubRecordText(record)}.`];

/** A test row that was trained on says less; the rows are used all the same, as others use them. */
const duplicateWarnings = (task: Task, train: readonly unknown[], test: readonly unknown[]): readonly string[] => {
  const count = countDuplicates(task, train, test);
  return count === 0 ? [] : [`${count} of the ${test.length} test rows of ${task.name} are training rows too.`];
};

const loadTask = async (data: TaskData, { seed, hub }: LoadingOptions): Promise<TrainingData> => {
  const task = taskByName(data.task);
  const template = templateOf(task, data.template);
  const { dir, hub: choice } = data;
  const load = async (split: SplitName) => await loadSplit(task, { dir, split, seed, hub, choice });
  const { examples, source } = await load("train");
  // Local training rows are no reason to fetch test rows.
  const remote = source === undefined ? {} : { hub, choice };
  const test = await loadSplitIfThere(task, { dir, split: "test", seed, ...remote });
  const warnings = [...hubSentence(`training`, source), ...duplicateWarnings(task, examples, test?.examples ?? [])];
  const { rows, chat } = taskRows(task, examples, template);
  const train = limited(rows, data.limit, seed);
  const format = chat ? "chat" : data.format;
  if (data.dev !== undefined || !task.splits.includes("dev"))
    return { ...splitOff(train, data.dev?.split ?? defaultDevShare, seed), format, warnings };
  const own = await load("dev");
  const dev = taskRows(task, own.examples, template).rows;
  const told = [...warnings, ...hubSentence("dev", own.source)];
  return { train, dev, devSource: `the ${dev.length} dev rows of ${task.name}`, format, warnings: told };
};

const loadFile = async ({ train: file, dev, limit, format }: FileData, seed: number): Promise<TrainingData> => {
  const rows = limited(await readRows(file), limit, seed);
  if (typeof dev !== "string") return { ...splitOff(rows, dev.split, seed), format, warnings: [] };
  const devRows = await readRows(dev);
  return { train: rows, dev: devRows, devSource: `the ${devRows.length} rows of ${dev}`, format, warnings: [] };
};

const loadHub = async (data: HubData, { seed, hub: maybeHub }: LoadingOptions): Promise<TrainingData> => {
  const hub = neededHub(maybeHub);
  const { format } = data;
  const { rows, record } = await readHubRows(hub, data, data.split);
  const train = limited(rows, data.limit, seed);
  const warnings = hubSentence("training", record);
  if (data.devSplit === undefined) return { ...splitOff(train, data.dev.split, seed), format, warnings };
  const dev = await readHubRows(hub, data, data.devSplit);
  return {
    train,
    dev: dev.rows,
    devSource: `the ${dev.rows.length} rows of the split ${data.devSplit} of ${data.hub}`,
    format,
    warnings: [...warnings, ...hubSentence("dev", dev.record)],
  };
};

/** The rows of one source. Errors: those of its files or of the hub; `data/empty` where a dev set can't be split off. */
export const loadSource = async (
  data: TaskData | FileData | HubData,
  options: LoadingOptions,
): Promise<TrainingData> => {
  if ("task" in data) return await loadTask(data, options);
  return "hub" in data ? await loadHub(data, options) : await loadFile(data, options.seed);
};

/** Names the place that a set of rows comes from. */
export const sourceName = (data: DataSpec, which: "train" | "dev" = "train"): string => {
  if ("mix" in data) return `the mix of ${data.mix.map((entry) => sourceLabel(entry)).join(", ")}`;
  if ("task" in data) return `the task ${data.task}${data.dir === undefined ? "" : ` in ${data.dir}`}`;
  if ("hub" in data) return `${data.hub} on the hub`;
  return which === "dev" && typeof data.dev === "string" ? data.dev : data.train;
};

/** A source's short name: a task's, a file's, a data set's. */
export const sourceLabel = (data: Pick<TaskData, "task"> | Pick<FileData, "train"> | Pick<HubData, "hub">): string =>
  "task" in data ? data.task : "hub" in data ? data.hub : data.train;
