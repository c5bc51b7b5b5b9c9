import { MiloraError } from "../errors.js";
import { unknownNameMessage } from "../util/did-you-mean.js";
import { arcChallenge } from "./arc-challenge.js";
import { arcEasy } from "./arc-easy.js";
import { openBookQa } from "./openbookqa.js";
import { smartHome } from "./smart-home/task.js";
import type { SplitName, Task } from "./task.js";

/** The built-in tasks by name. */
export const tasks: Readonly<Record<string, Task>> = {
  "arc-easy": arcEasy,
  "arc-challenge": arcChallenge,
  openbookqa: openBookQa,
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
  readonly chance: number;
  readonly templates: readonly string[];
  readonly version: number;
}

const countRows = async (task: Task, split: SplitName, dir: string | undefined): Promise<number | null> => {
  try {
    return (await task.load({ dir, split })).length;
  } catch (error) {
    if (MiloraError.isInstance(error) && error.code === "input/missing-file") return null;
    throw error;
  }
};

/** What `milora tasks` prints; `dir` is the folder that holds one folder a task. Errors: those of a malformed file. */
export const listTasks = async (
  options: { readonly dir?: string | undefined } = {},
): Promise<readonly TaskListing[]> =>
  await Promise.all(
    Object.values(tasks).map(async (task) => {
      const counts = await Promise.all(
        task.splits.map(async (split) => [split, await countRows(task, split, options.dir)] as const),
      );
      const { name, chance, templates, version } = task;
      return { task: name, rows: Object.fromEntries(counts), chance, templates, version };
    }),
  );
