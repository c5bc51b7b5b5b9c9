import { join, resolve } from "node:path";
import { MiloraError } from "../errors.js";
import { readTextFile } from "../util/files.js";
import { shown } from "../util/text.js";
import { readChoice } from "./readers/choice.js";
import { checkSplit, type Scorer, type SplitName, type Task } from "./task.js";

/** A row of a custom task where no other type is named: fields of text. */
export type TaskRow = Readonly<Record<string, string>>;

export interface DefineTaskOptions<Row = TaskRow> {
  readonly name: string;
  readonly version: number;
  /** Every answer there is; without it answers are free text and are compared whole. */
  readonly choices?: readonly string[] | undefined;
  readonly prompt: (row: Row) => string;
  readonly answer: (row: Row) => string;
  /** Reads the answer that an output states; `readChoice` by default, or the trimmed output where there are no choices. */
  readonly read?: ((output: string, choices: readonly string[]) => string | null) | undefined;
  readonly metric?: "accuracy" | "exact-match" | undefined;
  /** Puts prompts into the checkpoint's chat template. */
  readonly chat?: boolean | undefined;
  readonly maxNewTokens?: number | undefined;
  readonly license?: string | undefined;
  readonly origin?: string | undefined;
  readonly splits?: readonly SplitName[] | undefined;
  /** The rows of a split; by default `<dir>/<name>/<split>.jsonl`, checked by `parse`. */
  readonly load?: ((split: SplitName, dir: string | undefined) => Promise<readonly Row[]>) | undefined;
  /** Checks one row of a file; throws where it is wrong. Needed where `load` is not given. */
  readonly parse?: ((value: unknown) => Row) | undefined;
}

const readLines = async <Row>(file: string, parse: (value: unknown) => Row): Promise<readonly Row[]> => {
  const lines = (await readTextFile(file, "the task's data")).split(/\r?\n/);
  return lines.flatMap((text, index) => {
    if (text.trim() === "") return [];
    try {
      const value: unknown = JSON.parse(text);
      return [parse(value)];
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new MiloraError("data/bad-row", `${file}, line ${index + 1}: ${reason}; found ${shown(text)}`, {
        file,
        line: index + 1,
        found: shown(text),
        allowed: "what the task's parse accepts",
        cause,
      });
    }
  });
};

const loadRows = async <Row>(
  options: DefineTaskOptions<Row>,
  split: SplitName,
  dir: string | undefined,
): Promise<readonly Row[]> => {
  if (options.load !== undefined) return await options.load(split, dir);
  if (dir === undefined || options.parse === undefined) {
    throw new MiloraError("input/missing-file", `The task ${options.name} was given no data.`, {
      path: "data.dir",
      allowed: "a load function, or parse and a data folder",
    });
  }
  return await readLines(resolve(join(dir, options.name, `${split}.jsonl`)), options.parse);
};

/** A task of one's own, usable wherever a built-in one is. Continuations and answers follow the prompt after a space. */
export const defineTask = <Row = TaskRow>(options: DefineTaskOptions<Row>): Task<Row> => {
  const { choices = [], prompt, answer, chat = false } = options;
  const readAnswer = options.read ?? (choices.length > 0 ? readChoice : (output: string) => output.trim() || null);
  const read = (output: string): { readonly answer: string | null } => ({ answer: readAnswer(output, choices) });
  const scorers: readonly Scorer[] = choices.length > 0 ? ["generate", "loglik"] : ["generate"];
  const gap = chat ? "" : " ";
  const task: Task<Row> = {
    name: options.name,
    version: options.version,
    license: options.license ?? "unknown",
    origin: options.origin ?? "custom",
    templates: ["default"],
    splits: options.splits ?? ["train", "test"],
    scorers,
    chance: choices.length > 0 ? 1 / choices.length : 0,
    labels: choices,
    metric: options.metric ?? (choices.length > 0 ? "accuracy" : "exact-match"),
    maxNewTokens: options.maxNewTokens ?? 64,
    load: async ({ split, dir }) => {
      checkSplit(task, split);
      return await loadRows(options, split, dir);
    },
    render: (row) => ({
      prompt: prompt(row),
      answer: `${gap}${answer(row)}`,
      ...(choices.length > 0 ? { choices: choices.map((choice) => `${gap}${choice}`), choiceLabels: choices } : {}),
      chat,
    }),
    read,
    readOutput: read,
    correct: answer,
    // The functions' source is the only text of the template there is.
    templateSource: () => JSON.stringify([String(prompt), String(answer), choices, chat]),
  };
  return task;
};
