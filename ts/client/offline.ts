import { MiloraError } from "../errors.js";
import { readSavedOutputs, scoreOutputs, type OutputScores } from "../evaluate/score-outputs.js";
import { compareResults, type ResultComparison } from "../report/compare-results.js";
import { readResults, resultName, type StoredResult } from "../runs/stored-results.js";
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

const named = (results: readonly StoredResult[]): string => results.map(resultName).join(", ");

type Pair = readonly [StoredResult, StoredResult];

/** Results of the same name; two single ones are a pair whatever they are called, so that what differs is told. */
const pairResults = (first: readonly StoredResult[], second: readonly StoredResult[]): readonly Pair[] => {
  const [one] = first;
  const [other] = second;
  if (first.length === 1 && second.length === 1 && one !== undefined && other !== undefined) return [[one, other]];
  return first.flatMap((result) =>
    second.filter((candidate) => resultName(candidate) === resultName(result)).map((match): Pair => [result, match]),
  );
};

/**
 * Compares the results in two places row by row: files of `eval --outputs`, files of a run's `results` folder, or run
 * folders, of which those of the same task, scorer and reader are compared. `tasks`: only these.
 * Errors: `input/missing-file`; `input/invalid-spec` for what is no result, for nothing in common, for what
 * `compareResults` refuses.
 */
export const compareResultFiles = async (options: {
  readonly first: string;
  readonly second: string;
  readonly tasks?: readonly string[] | undefined;
}): Promise<readonly ResultComparison[]> => {
  const { tasks } = options;
  const read = async (place: string): Promise<readonly StoredResult[]> =>
    (await readResults(place)).filter(({ task }) => tasks === undefined || tasks.includes(task));
  const [first, second] = [await read(options.first), await read(options.second)];
  const pairs = pairResults(first, second);
  if (pairs.length > 0) return pairs.map(([one, other]) => compareResults(one, other));
  const found = `${named(first) || "nothing"} in the first, ${named(second) || "nothing"} in the second`;
  const asked = tasks === undefined ? "" : ` of ${tasks.join(", ")}`;
  throw new MiloraError("input/invalid-spec", `There are no two results${asked} to compare: ${found}.`, {
    found,
    allowed: "a result of the same task, scorer and reader in both",
  });
};
