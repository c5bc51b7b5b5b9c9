import { readSavedOutputs, scoreOutputs, type OutputScores } from "../evaluate/score-outputs.js";
import type { ReaderName } from "../tasks/readers/reader.js";
import { taskByName } from "../tasks/registry.js";

export { listTasks } from "../tasks/registry.js";

/** Scores the outputs in a JSON lines file with a task's reader; no model, no Python. */
export const scoreFile = async (options: {
  readonly task: string;
  readonly file: string;
  readonly reader: ReaderName;
}): Promise<OutputScores> => {
  const task = taskByName(options.task);
  return scoreOutputs({ task, outputs: await readSavedOutputs(options.file), reader: options.reader });
};
