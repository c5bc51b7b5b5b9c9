import { resolve } from "node:path";
import { z } from "zod";
import { MiloraError } from "../errors.js";
import { readTaskText } from "../tasks/data-files.js";
import type { ReaderName } from "../tasks/readers/reader.js";
import type { Task } from "../tasks/task.js";
import { wilsonInterval } from "../util/statistics.js";
import { shown } from "../util/text.js";
import { majorityScore } from "./result.js";

const savedOutput = z.object({
  output: z.string({ error: "output must be text" }),
  answer: z.string({ error: "answer must be text" }).regex(/\S/, { error: "answer must not be empty" }),
  choices: z.array(z.string()).optional(),
});

/** An output that was saved, the right answer, and the texts of the choices where the example has its own. */
export interface SavedOutput {
  readonly output: string;
  readonly answer: string;
  readonly choices?: readonly string[] | undefined;
}

export interface OutputScores {
  readonly task: string;
  readonly version: number;
  readonly reader: ReaderName;
  readonly accuracy: number;
  readonly correct: number;
  readonly total: number;
  readonly unparsed: number;
  /** Accuracy of a blind guess, by the choices that the outputs name, else by the task. */
  readonly chance: number;
  readonly majority: number;
  /** Wilson's 95 % interval of the accuracy. */
  readonly interval: readonly [number, number];
  /** The answer read from each output; null where none could be. */
  readonly read: readonly (string | null)[];
}

const badLine = (file: string, line: number, found: string, allowed: string): MiloraError =>
  new MiloraError("data/bad-row", `${file}, line ${line}: found ${found}, allowed: ${allowed}`, {
    file,
    line,
    found,
    allowed,
  });

const parseLine = (file: string, text: string, line: number): SavedOutput => {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw badLine(file, line, shown(text), "one JSON object");
  }
  const result = savedOutput.safeParse(value);
  if (result.success) return result.data;
  const reasons = result.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`).join("; ");
  throw badLine(file, line, shown(value), `{"output", "answer", "choices"?} (${reasons})`);
};

/** Reads `{output, answer, choices?}` lines. Errors: `input/missing-file`; `data/bad-row`; `data/empty`. */
export const readSavedOutputs = async (path: string): Promise<readonly SavedOutput[]> => {
  const file = resolve(path);
  const lines = (await readTaskText(file, "the outputs")).split(/\r?\n/);
  const outputs = lines.flatMap((text, index) => (text.trim() === "" ? [] : [parseLine(file, text, index + 1)]));
  if (outputs.length === 0) throw new MiloraError("data/empty", `${file} holds no outputs.`, { file });
  return outputs;
};

/** Scores saved outputs without a model. An answer may be written in any form that the task's robust reader reads. */
export const scoreOutputs = (options: {
  readonly task: Task;
  readonly outputs: readonly SavedOutput[];
  readonly reader?: ReaderName | undefined;
}): OutputScores => {
  const { task, outputs, reader = "robust" } = options;
  const expected = outputs.map(({ answer, choices }) => {
    return task.readOutput(answer, { reader: "robust", choices }).answer ?? answer;
  });
  const read = outputs.map(({ output, choices }) => task.readOutput(output, { reader, choices }).answer);
  const correct = read.filter((answer, index) => answer !== null && answer === expected[index]).length;
  const chances = outputs.map(({ choices = [] }) => (choices.length > 0 ? 1 / choices.length : task.chance));
  return {
    task: task.name,
    version: task.version,
    reader,
    accuracy: outputs.length === 0 ? 0 : correct / outputs.length,
    correct,
    total: outputs.length,
    unparsed: read.filter((answer) => answer === null).length,
    chance: outputs.length === 0 ? task.chance : chances.reduce((sum, chance) => sum + chance, 0) / outputs.length,
    majority: majorityScore(expected),
    interval: wilsonInterval(correct, outputs.length),
    read,
  };
};
