import { MiloraError } from "../errors.js";
import { unknownNameMessage } from "../util/did-you-mean.js";
import { alpaca } from "./alpaca.js";
import { aqua } from "./aqua.js";
import { arcChallenge } from "./arc-challenge.js";
import { arcEasy } from "./arc-easy.js";
import { bbh } from "./bbh.js";
import { boolqPassage } from "./boolq-passage.js";
import { boolq } from "./boolq.js";
import { countDuplicates } from "./duplicates.js";
import { gsm8k } from "./gsm8k.js";
import { mmlu } from "./mmlu.js";
import { mtBench } from "./mt-bench.js";
import { openBookQa } from "./openbookqa.js";
import { piqa } from "./piqa.js";
import { smartHome } from "./smart-home/task.js";
import type { LoadOptions, Scorer, SplitName, Task } from "./task.js";

/** The built-in tasks by name. */
export const tasks: Readonly<Record<string, Task>> = {
  "arc-easy": arcEasy,
  "arc-challenge": arcChallenge,
  openbookqa: openBookQa,
  boolq,
  "boolq-passage": boolqPassage,
  piqa,
  aqua,
  gsm8k,
  mmlu,
  bbh,
  "mt-bench": mtBench,
  alpaca,
  "smart-home": smartHome,
};

/** A built-in task. Errors: `input/unknown-name` with the nearest name. */
export const taskByName = (name: string): Task => {
  const task = Object.hasOwn(tasks, name) ? tasks[name] : undefined;
  if (task !== undefined) return task;
  const known = Object.keys(tasks);
  throw new MiloraError("input/unknown-name", unknownNameMessage("task", name, known), {
    path: "data.task",
    found: name,
    allowed: known.join(", "),
  });
};

/** A line of `milora tasks`. */
export interface TaskListing {
  readonly task: string;
  /** Rows of each split; null where the data is not there. */
  readonly rows: Readonly<Partial<Record<SplitName, number | null>>>;
  /** Test rows that are also training rows; null where one of the two sets is not there. */
  readonly duplicates: number | null;
  readonly chance: number;
  readonly templates: readonly string[];
  readonly scorers: readonly Scorer[];
  readonly version: number;
  readonly license: string;
  readonly origin: string;
}

/** A split's examples; null where the task has no such split or its file is not there. */
export const loadIfThere = async (task: Task, load: LoadOptions): Promise<readonly unknown[] | null> => {
  if (!task.splits.includes(load.split)) return null;
  try {
    return await task.load(load);
  } catch (error) {
    if (MiloraError.isInstance(error) && error.code === "input/missing-file") return null;
    throw error;
  }
};

const listTask = async (task: Task, dir: string | undefined): Promise<TaskListing> => {
  const train = await loadIfThere(task, { dir, split: "train" });
  const dev = await loadIfThere(task, { dir, split: "dev" });
  const test = await loadIfThere(task, { dir, split: "test" });
  const counts = { train: train?.length ?? null, dev: dev?.length ?? null, test: test?.length ?? null };
  const { name, chance, templates, scorers, version, license, origin } = task;
  return {
    task: name,
    rows: Object.fromEntries(task.splits.map((split) => [split, counts[split]])),
    duplicates: train === null || test === null ? null : countDuplicates(task, train, test),
    chance,
    templates,
    scorers,
    version,
    license,
    origin,
  };
};

/** What `milora tasks` prints; `dir` is the folder that holds one folder a task. Errors: those of a malformed file. */
export const listTasks = async (
  options: { readonly dir?: string | undefined } = {},
): Promise<readonly TaskListing[]> =>
  await Promise.all(Object.values(tasks).map(async (task) => await listTask(task, options.dir)));
