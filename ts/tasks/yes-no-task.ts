import { alpacaPrompt } from "../data/alpaca-prompt.js";
import { statedAnswer } from "./choice-task.js";
import { letterContinuations, letteredPrompt, readStatedLetter } from "./lettered.js";
import { readBoolean } from "./readers/boolean.js";
import { compatBoolean } from "./readers/compat.js";
import type { ReadOptions, Rendered, Task } from "./task.js";

/** A question without the marks at its end; what stands before them is looked at once, however long it is. */
export const withoutQuestionMarks = (question: string): string => {
  let end = question.length;
  while (question.charAt(end - 1) === "?") end -= 1;
  return end === question.length ? question : question.slice(0, end).trimEnd();
};

/** A question that yes or no answers, with the passage it is about where it is asked with one. */
export interface YesNoExample {
  /** Without its question mark. */
  readonly question: string;
  readonly passage?: string | undefined;
  readonly answer: "true" | "false";
}

const labels = ["true", "false"] as const;
const words = ["yes", "no"] as const;

const asked = ({ question, passage }: YesNoExample): string =>
  `${passage === undefined ? "" : `${passage}\n`}Question: ${question}?`;

const pick = (continuations: readonly string[], answer: "true" | "false"): string =>
  continuations[labels.indexOf(answer)] ?? "";

/** lm-evaluation-harness's form: " yes" or " no" follows the prompt. */
const choiceText = (example: YesNoExample): Rendered => {
  const choices = words.map((word) => ` ${word}`);
  const prompt = `${asked(example)}\nAnswer:`;
  return { prompt, answer: pick(choices, example.answer), choices, choiceLabels: labels };
};

const choiceLabel = ({ question, passage, answer }: YesNoExample): Rendered => ({
  prompt: alpacaPrompt(
    `Please answer the following question with true or false, question: ${question}?\n\nAnswer format: true/false`,
    passage,
  ),
  answer: statedAnswer(answer),
  choices: labels.map(statedAnswer),
  choiceLabels: labels,
});

const letter = (example: YesNoExample): Rendered => {
  const choices = letterContinuations(words.length);
  const prompt = letteredPrompt(asked(example), words);
  return { prompt, answer: pick(choices, example.answer), choices, choiceLabels: labels };
};

const templates: Readonly<Record<string, (example: YesNoExample) => Rendered>> = {
  "choice-text": choiceText,
  "choice-label": choiceLabel,
  letter,
};

const readOutput = (output: string, { reader, template }: ReadOptions): string | null => {
  if (template === "letter") {
    const read = readStatedLetter(output, { reader, count: words.length });
    return read === null ? null : read === "A" ? "true" : "false";
  }
  return reader === "compat" ? compatBoolean(output) : readBoolean(output);
};

/** All of a yes-or-no task but its rows. */
export const yesNoTask = (
  options: Pick<Task<YesNoExample>, "name" | "version" | "license" | "origin" | "hub" | "splits" | "load"> & {
    readonly passage: boolean;
  },
): Task<YesNoExample> => {
  const { passage, ...rest } = options;
  const placeholder: YesNoExample = {
    question: "{question}",
    passage: passage ? "{passage}" : undefined,
    answer: "true",
  };
  const render = (example: YesNoExample, template: string): Rendered => (templates[template] ?? choiceText)(example);
  return {
    ...rest,
    templates: Object.keys(templates),
    scorers: ["generate", "label", "loglik"],
    // In `choice-text` yes and no are labels too.
    scorerTemplates: { label: ["letter", "choice-text"] },
    chance: 0.5,
    labels,
    metric: "accuracy",
    maxNewTokens: 16,
    render,
    read: (output, _example, reader, template) => ({ answer: readOutput(output, { reader, template }) }),
    readOutput: (output, read) => ({ answer: readOutput(output, read) }),
    correct: ({ answer }) => answer,
    templateSource: (template) => JSON.stringify(render(placeholder, template)),
  };
};
