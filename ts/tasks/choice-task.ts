import { alpacaPrompt } from "../data/alpaca-prompt.js";
import { type ChoiceExample, choiceIndex, loadChoiceExamples } from "./llm-adapters-choices.js";
import { readChoice } from "./readers/choice.js";
import { compatChoice } from "./readers/compat.js";
import { withoutRunOn } from "./readers/mentions.js";
import type { ReaderName } from "./readers/reader.js";
import { checkSplit, type ReadOptions, type Rendered, type Task } from "./task.js";

const labels = ["answer1", "answer2", "answer3", "answer4", "answer5"] as const;

/** What LLM-Adapters' answers look like; its `output` field holds the same words. */
const statedAnswer = (label: string): string => `the correct answer is ${label}`;

const choiceText = (example: ChoiceExample): Rendered => {
  const choices = example.choices.map((choice) => ` ${choice}`);
  return {
    prompt: `Question: ${example.question}\nAnswer:`,
    answer: choices.at(choiceIndex(example.answer)) ?? "",
    choices,
    choiceLabels: labels.slice(0, choices.length),
  };
};

const choiceLabel = (example: ChoiceExample): Rendered => {
  const choiceLabels = labels.slice(0, example.choices.length);
  return {
    prompt: alpacaPrompt(example.instruction),
    answer: statedAnswer(example.answer),
    choices: choiceLabels.map(statedAnswer),
    choiceLabels,
  };
};

const templates: Readonly<Record<string, (example: ChoiceExample) => Rendered>> = {
  "choice-text": choiceText,
  "choice-label": choiceLabel,
};

const placeholder: ChoiceExample = {
  instruction: "{instruction}",
  question: "{question}",
  choices: ["{choice1}", "{choice2}"],
  answer: "answer1",
};

const simplified = (text: string): string =>
  text
    .toLowerCase()
    .replaceAll(/\s+/g, " ")
    .trim()
    .replace(/[.!]+$/, "");

/** The label of the choice whose text the output is, word for word but for case, white space and a full stop. */
const labelOfText = (output: string, choices: readonly string[]): string | null => {
  const [firstLine = ""] = withoutRunOn(output).trim().split("\n");
  const index = choices.findIndex((choice) => simplified(choice) === simplified(firstLine));
  return index < 0 ? null : (labels[index] ?? null);
};

const readOutput = (output: string, { reader, choices }: ReadOptions): string | null => {
  const known = choices === undefined ? labels : labels.slice(0, choices.length);
  if (reader === "compat") return compatChoice(output, labels);
  return labelOfText(output, choices ?? []) ?? readChoice(output, known);
};

export interface ChoiceTaskOptions {
  readonly name: string;
  readonly version: number;
  readonly license: string;
  readonly origin: string;
}

/**
 * A multiple-choice benchmark in LLM-Adapters' JSON. Templates: `choice-text` (question → text of the right choice)
 * and `choice-label` (LLM-Adapters' form: "the correct answer is answer2").
 */
export const choiceTask = (options: ChoiceTaskOptions): Task<ChoiceExample> => {
  const task: Task<ChoiceExample> = {
    ...options,
    templates: Object.keys(templates),
    splits: ["train", "test"],
    scorers: ["generate", "loglik"],
    chance: 0.25,
    labels,
    metric: "accuracy",
    maxNewTokens: 64,
    load: async (load) => {
      checkSplit(task, load.split);
      return await loadChoiceExamples(options.name, load);
    },
    render: (example, template) => (templates[template] ?? choiceText)(example),
    read: (output, { choices }, reader: ReaderName) => ({ answer: readOutput(output, { reader, choices }) }),
    readOutput: (output, read) => ({ answer: readOutput(output, read) }),
    correct: (example) => example.answer,
    templateSource: (template) => JSON.stringify((templates[template] ?? choiceText)(placeholder)),
  };
  return task;
};
