import { createHash } from "node:crypto";
import type { PlainRow } from "../data/row.js";
import { MiloraError } from "../errors.js";
import { unknownNameMessage } from "../util/did-you-mean.js";
import type { ReaderName } from "./readers/reader.js";

export type SplitName = "train" | "dev" | "test";

/** `generate`: the model writes, a reader reads the stated answer. `loglik`: the likelier choice is the answer. */
export type Scorer = "generate" | "loglik";

export interface LoadOptions {
  /** Folder that holds one folder a task; built-in grammars need none. */
  readonly dir?: string | undefined;
  readonly split: SplitName;
  /** Rows of a generated task; a task of files gives all of its own. */
  readonly rows?: number | undefined;
  /** Seed of a generated task. */
  readonly seed?: number | undefined;
}

/** An example as the model sees it. Prompt and answer are tokenised apart and joined. */
export interface Rendered {
  readonly prompt: string;
  readonly answer: string;
  /** Continuations to compare, as they follow the prompt, with their leading space. */
  readonly choices?: readonly string[] | undefined;
  /** The answer that each of `choices` stands for. */
  readonly choiceLabels?: readonly string[] | undefined;
  /** Puts the prompt into the checkpoint's chat template as one user message. */
  readonly chat?: boolean | undefined;
}

export interface Reading {
  /** The answer in its canonical form; null where none can be read. */
  readonly answer: string | null;
}

export interface ReadOptions {
  readonly reader: ReaderName;
  /** The texts of the choices, in order, where a task's examples have their own. */
  readonly choices?: readonly string[] | undefined;
}

/**
 * A benchmark: all that decides its score in one place. `Example` is the task's own business; the methods take what
 * the same task's `load` gave.
 */
export interface Task<Example = unknown> {
  readonly name: string;
  /** Raised whenever a change moves scores. */
  readonly version: number;
  readonly license: string;
  readonly origin: string;
  /** Names of the templates, the default one first. */
  readonly templates: readonly string[];
  readonly splits: readonly SplitName[];
  readonly scorers: readonly Scorer[];
  /** Accuracy of a blind guess. */
  readonly chance: number;
  /** Every answer there is, where it is a closed set. */
  readonly labels: readonly string[];
  /** What is compared: the stated label, or the whole answer. */
  readonly metric: "accuracy" | "exact-match";
  /** Tokens that any answer fits in. */
  readonly maxNewTokens: number;
  load(options: LoadOptions): Promise<readonly Example[]>;
  /** The one function that training and inference share. */
  render(example: Example, template: string): Rendered;
  read(output: string, example: Example, reader: ReaderName): Reading;
  /** Reads an output without its example, for saved outputs. */
  readOutput(output: string, options: ReadOptions): Reading;
  correct(example: Example): string;
  /** The template's text with placeholders; its hash names the template in a result. */
  templateSource(template: string): string;
}

/** The template of that name, or the task's first one. Errors: `input/unknown-name`. */
export const templateOf = (task: Task, name: string | undefined): string => {
  const [first = "default"] = task.templates;
  if (name === undefined) return first;
  if (task.templates.includes(name)) return name;
  throw new MiloraError("input/unknown-name", unknownNameMessage(`template of ${task.name}`, name, task.templates), {
    path: "data.template",
    found: name,
    allowed: task.templates.join(", "),
  });
};

/** A short checksum of a template's text. */
export const templateHash = (task: Task, template: string): string =>
  createHash("sha256").update(task.templateSource(template)).digest("hex").slice(0, 12);

/** Refuses a split that the task does not have. Errors: `input/unknown-name`. */
export const checkSplit = (task: Pick<Task, "name" | "splits">, split: SplitName): void => {
  if (task.splits.includes(split)) return;
  throw new MiloraError("input/unknown-name", unknownNameMessage(`split of ${task.name}`, split, task.splits), {
    found: split,
    allowed: task.splits.join(", "),
  });
};

/** Refuses a scorer that the task does not have. Errors: `input/unknown-name`. */
export const checkScorer = (task: Pick<Task, "name" | "scorers">, scorer: Scorer): void => {
  if (task.scorers.includes(scorer)) return;
  throw new MiloraError("input/unknown-name", `The task ${task.name} can't be scored by ${scorer}.`, {
    path: "scorer",
    found: scorer,
    allowed: task.scorers.join(", "),
  });
};

/** A task's examples as training rows; `chat` is true where the task's prompts go into the chat template. */
export const taskRows = (
  task: Task,
  examples: readonly unknown[],
  template: string,
): { readonly rows: readonly PlainRow[]; readonly chat: boolean } => {
  const rendered = examples.map((example) => task.render(example, template));
  return {
    rows: rendered.map(({ prompt, answer }) => ({ prompt, answer })),
    chat: rendered.some((row) => row.chat === true),
  };
};
