import { createHash } from "node:crypto";
import type { ChatMessage, PlainRow } from "../data/row.js";
import type { SplitName } from "../data/split.js";
import { MiloraError } from "../errors.js";
import { unknownNameMessage } from "../util/did-you-mean.js";
import type { HubSource } from "./hub-source.js";
import type { ReaderName } from "./readers/reader.js";

export type { SplitName };

/**
 * `generate`: the model writes, a reader reads the stated answer. `label`: the likeliest label, such as a letter,
 * right after the prompt is the answer. `loglik`: the likeliest choice, as a whole text, is the answer.
 */
export type Scorer = "generate" | "label" | "loglik";

/** Which rows of a task are read. */
export interface LoadOptions {
  /** Folder that holds one folder a task; built-in grammars need none. */
  readonly dir?: string | undefined;
  /** The split. */
  readonly split: SplitName;
  /** Rows of a generated task; a task of files gives all of its own. */
  readonly rows?: number | undefined;
  /** Seed of a generated task. */
  readonly seed?: number | undefined;
}

/** What a model is asked. */
export interface Asked {
  /** The text that goes to the model. */
  readonly prompt: string;
  /** Puts the prompt into the checkpoint's chat template as one user message. */
  readonly chat?: boolean | undefined;
  /** The whole chat for the chat template, where it is longer; `prompt` is then its newest user message alone. */
  readonly messages?: readonly ChatMessage[] | undefined;
}

/** An example as the model sees it. Prompt and answer are tokenised apart and joined. */
export interface Rendered extends Asked {
  /** The answer, as it follows the prompt. */
  readonly answer: string;
  /** Continuations to compare, as they follow the prompt, with their leading space. */
  readonly choices?: readonly string[] | undefined;
  /** The answer that each of `choices` stands for. */
  readonly choiceLabels?: readonly string[] | undefined;
}

/** What a judge is told of an example beside the model's answers. */
export interface JudgeMaterial {
  /** Its number in the data. */
  readonly question: number;
  /** Its category. */
  readonly category: string;
  /** What the user says in each turn. */
  readonly turns: readonly string[];
  /** Right answers, a turn each, where there are any. */
  readonly references: readonly string[];
}

/** What a reader found in an output. */
export interface Reading {
  /** The answer in its canonical form; null where none can be read. */
  readonly answer: string | null;
}

/** How an output is read. */
export interface ReadOptions {
  /** `robust` or `compat`. */
  readonly reader: ReaderName;
  /** The texts of the choices, in order, where a task's examples have their own. */
  readonly choices?: readonly string[] | undefined;
  /** The template that asked, where its answers are written differently. */
  readonly template?: string | undefined;
}

/**
 * A benchmark: all that decides its score in one place. `Example` is the task's own business; the methods take what
 * the same task's `load` gave.
 */
export interface Task<Example = unknown> {
  /** How it is called, also in a spec. */
  readonly name: string;
  /** Raised whenever a change moves scores. */
  readonly version: number;
  /** The licence of its rows. */
  readonly license: string;
  /** Where its rows come from. */
  readonly origin: string;
  /** Where its rows are on the hub, for machines that have none of its files. */
  readonly hub?: HubSource | undefined;
  /** Names of the templates, the default one first. */
  readonly templates: readonly string[];
  /** The splits it has. */
  readonly splits: readonly SplitName[];
  /** None for a task that is only trained on. */
  readonly scorers: readonly Scorer[];
  /** The templates that a scorer can use, its default one first; all of them where it is not named. */
  readonly scorerTemplates?: Readonly<Partial<Record<Scorer, readonly string[]>>> | undefined;
  /** Solved examples that a template shows before the question; none where it is not named. */
  readonly shots?: Readonly<Record<string, number>> | undefined;
  /** Accuracy of a blind guess. */
  readonly chance: number;
  /** Every answer there is, where it is a closed set. */
  readonly labels: readonly string[];
  /** What is compared: the stated label, or the whole answer. `judged`: there is no automatic score. */
  readonly metric: "accuracy" | "exact-match" | "judged";
  /** Tokens that any answer fits in. */
  readonly maxNewTokens: number;
  /** Reads the rows of a split. Errors: `input/missing-file`, `data/bad-row`. */
  load(options: LoadOptions): Promise<readonly Example[]>;
  /** The one function that training and inference share. */
  render(example: Example, template: string): Rendered;
  /** `template`: the one that asked; needed only where templates write answers differently. */
  read(output: string, example: Example, reader: ReaderName, template?: string): Reading;
  /** Reads an output without its example, for saved outputs. */
  readOutput(output: string, options: ReadOptions): Reading;
  /** The right answer. */
  correct(example: Example): string;
  /** A blind guess's chance at this example, where neither `chance` nor the rendered choices tell it. */
  chanceOf?(example: Example): number;
  /** The parts that results are broken down by, such as `{ subjects: "anatomy", categories: "other" }`. */
  groupsOf?(example: Example): Readonly<Record<string, string>>;
  /** What is asked after the outputs so far; undefined after the last turn. */
  nextPrompt?(example: Example, template: string, outputs: readonly string[]): Asked | undefined;
  /** What a judge is told; only for a task whose metric is `judged`. */
  judgeMaterial?(example: Example): JudgeMaterial;
  /** The template's text with placeholders; its hash names the template in a result. */
  templateSource(template: string): string;
}

/**
 * The template of that name, or the scorer's first one (a task's own first one for training).
 * Errors: `input/unknown-name`.
 */
export const templateOf = (task: Task, name: string | undefined, scorer?: Scorer): string => {
  const only = scorer === undefined ? undefined : task.scorerTemplates?.[scorer];
  const known = only ?? task.templates;
  const [first = "default"] = known;
  if (name === undefined) return first;
  if (known.includes(name)) return name;
  const message = task.templates.includes(name)
    ? `The scorer ${scorer} can't use the template ${name} of ${task.name}; it can use ${known.join(", ")}.`
    : unknownNameMessage(`template of ${task.name}`, name, known);
  throw new MiloraError("input/unknown-name", message, {
    path: "data.template",
    found: name,
    allowed: known.join(", "),
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

const checkScorer = (task: Pick<Task, "name" | "scorers">, scorer: Scorer): void => {
  if (task.scorers.includes(scorer)) return;
  const trainingOnly = task.scorers.length === 0;
  const instead = trainingOnly ? "it is for training only" : `it can be scored by ${task.scorers.join(", ")}`;
  throw new MiloraError("input/unknown-name", `The task ${task.name} can't be scored by ${scorer}; ${instead}.`, {
    path: "scorer",
    found: scorer,
    allowed: trainingOnly ? "nothing: choose another task" : task.scorers.join(", "),
  });
};

/** The template that a score is made with. Errors: `input/unknown-name` (scorer, template). */
export const scoredTemplate = (
  task: Task,
  { scorer = "generate", template }: { readonly scorer?: Scorer | undefined; readonly template?: string | undefined },
): string => {
  checkScorer(task, scorer);
  return templateOf(task, template, scorer);
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
