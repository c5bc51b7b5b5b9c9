import { hubFolder, neededHub, type Hub, type HubRecord } from "../data/hub.js";
import { MiloraError } from "../errors.js";
import type { HubChoice } from "../spec/data.js";
import { hubUnit } from "./hub-source.js";
import { checkSplit, type LoadOptions, type Task } from "./task.js";

export interface LoadSplitOptions extends LoadOptions {
  /** Fetches what no local folder holds; without it only local rows are found. */
  readonly hub?: Hub | undefined;
  /** Takes the rows from the hub in any case; what it leaves out is the task's own choice. */
  readonly choice?: HubChoice | undefined;
}

/** Examples of a split, and where they came from if that is the hub. */
export interface LoadedSplit {
  readonly examples: readonly unknown[];
  readonly source?: HubRecord | undefined;
}

const fromHub = async (
  task: Task,
  hub: Hub,
  { split, choice = {}, ...options }: LoadSplitOptions,
): Promise<LoadedSplit> => {
  if (task.hub === undefined)
    throw new MiloraError("input/invalid-spec", `The task ${task.name} has no rows on the hub.`, {
      path: "data.hub",
      found: JSON.stringify(choice),
      allowed: "data.dir, the folder of its files",
    });
  checkSplit(task, split);
  const unit = hubUnit({ name: task.name, hub: task.hub, split }, choice);
  const { folder, record } = await hubFolder(hub, unit);
  return { examples: await task.load({ ...options, split, dir: folder }), source: record };
};

/** Codes of a hub that can't be asked: what is wrong is then that the named folder lacks the files. */
const unasked: readonly string[] = ["environment/missing-package", "data/unreachable"];

/** The error where there are no local rows and the hub can't be asked; a folder that the user named comes first. */
const nowhere = (local: MiloraError, remote: MiloraError, dir: string | undefined): MiloraError => {
  const { file, path, found, allowed } = local;
  const hint = [remote.hint, local.hint].filter((text) => text !== undefined).join(" Or: ");
  if (dir === undefined) return new MiloraError(remote.code, remote.message, { path, hint, cause: remote });
  const message = `${local.message} The hub could not be asked either: ${remote.message}`;
  return new MiloraError(local.code, message, { file, path, found, allowed, hint, cause: remote });
};

const isMissing = (error: unknown): error is MiloraError =>
  MiloraError.isInstance(error) && error.code === "input/missing-file";

/**
 * A task's examples: from `dir` where it holds the task's files, else from the hub.
 * Errors: those of `Task.load` and of `hubFolder`; `input/invalid-spec` for a choice of hub of a task without one.
 */
export const loadSplit = async (task: Task, options: LoadSplitOptions): Promise<LoadedSplit> => {
  const { hub, choice, ...local } = options;
  if (choice !== undefined) return await fromHub(task, neededHub(hub), options);
  try {
    return { examples: await task.load(local) };
  } catch (missing) {
    if (hub === undefined || task.hub === undefined || !isMissing(missing)) throw missing;
    try {
      return await fromHub(task, hub, options);
    } catch (error) {
      if (!MiloraError.isInstance(error) || !unasked.includes(error.code)) throw error;
      throw nowhere(missing, error, local.dir);
    }
  }
};

/** What a split that may be missing gives: null where the task lacks it, or neither folder nor hub has it. */
export const loadSplitIfThere = async (task: Task, options: LoadSplitOptions): Promise<LoadedSplit | null> => {
  if (!task.splits.includes(options.split)) return null;
  try {
    return await loadSplit(task, options);
  } catch (error) {
    const absent: readonly string[] = ["input/missing-file", "input/unknown-name", ...unasked];
    if (MiloraError.isInstance(error) && absent.includes(error.code)) return null;
    throw error;
  }
};
