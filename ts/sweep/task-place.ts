import type { DataSpec, HubChoice } from "../spec/data.js";

/** Where the test rows of a run's tasks are. */
export interface TaskPlace {
  readonly dir?: string | undefined;
  readonly hub?: HubChoice | undefined;
}

/** The place that a run's rows name: its task's, or the folder of the first task of a mix. */
export const taskPlace = (data: DataSpec): TaskPlace => {
  if ("task" in data) return { dir: data.dir, hub: data.hub };
  const entries = "mix" in data ? data.mix : [];
  return { dir: entries.flatMap((entry) => ("task" in entry ? [entry.dir] : [])).find((dir) => dir !== undefined) };
};
