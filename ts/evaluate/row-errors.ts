import { MiloraError } from "../errors.js";
import type { Rendered, Task } from "../tasks/task.js";
import { shown } from "../util/text.js";

interface PlacedRow {
  /** Index in the split. */
  readonly index: number;
  readonly rendered: Rendered;
  readonly expected: string;
}

/** The task and split that rows are of, such as `arc-easy test`. */
interface Place {
  readonly task: Pick<Task, "name" | "metric">;
  readonly split: string;
}

const nameOf = ({ task, split }: Place, index: number): string => `${task.name}, ${split} row ${index}`;

const fault = ({ rendered: { choices, choiceLabels }, expected }: PlacedRow) => {
  if (choices?.some((choice) => choice.trim() === "") === true) return { found: "an empty choice", allowed: "text" };
  if (expected.trim() === "") return { found: "no answer", allowed: "an answer" };
  if (choiceLabels?.includes(expected) === false)
    return { found: `the answer ${shown(expected)}`, allowed: choiceLabels.join(", ") };
  return undefined;
};

/**
 * Refuses a row that no output could be right for; rows of files were checked before, those of one's own tasks were not.
 * Errors: `data/bad-row`.
 */
export const checkRow = (row: PlacedRow, place: Place): void => {
  const problem = place.task.metric === "judged" ? undefined : fault(row);
  if (problem === undefined) return;
  const { found, allowed } = problem;
  const message = `${nameOf(place, row.index)}: found ${found}, allowed: ${allowed}`;
  throw new MiloraError("data/bad-row", message, { path: `[${row.index}]`, found, allowed });
};

/** What an operation refuses in one of the rows that it was given, told by the row's place in its split. */
export const placedError = (error: unknown, rows: readonly PlacedRow[], place: Place): unknown => {
  if (!MiloraError.isInstance(error)) return error;
  const position = /^rows\[(\d+)\]/.exec(error.path ?? "")?.[1];
  const row = rows[Number(position ?? Number.NaN)];
  if (row === undefined) return error;
  const { code, message, path, found, allowed } = error;
  return new MiloraError(code, `${nameOf(place, row.index)}: ${message}`, {
    path,
    found,
    allowed,
    hint: error.hint ?? "Remove the row from the data, or choose another template or scorer.",
    cause: error,
  });
};
