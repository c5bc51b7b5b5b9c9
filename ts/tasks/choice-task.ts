import { alpacaPrompt } from "../data/alpaca-prompt.js";
import type { HubSource } from "./hub-source.js";
import { letterContinuations, letteredPrompt, letters, readStatedLetter } from "./lettered.js";
import { type ChoiceExample, type ChoiceWord, loadChoiceExamples } from "./llm-adapters-choices.js";
import { readChoiceText } from "./readers/choice-text.js";
import { readChoice } from "./readers/choice.js";
import { compatChoice } from "./readers/compat.js";
import { checkSplit, type ReadOptions, type Rendered, type Task } from "./task.js";

/** What LLM-Adapters' answers look like; its `output` field holds the same words. */
export const statedAnswer = (label: string): string => `the correct answer is ${label}`;

const maximumChoices = letters.length;

const labelsOf = (word: ChoiceWord): readonly string[] =>
  Array.from({ length: maximumChoices }, (_, index) => `${word}${index + 1}`);

type Template = (example: ChoiceExample, labels: readonly string[]) => Rendered;

const pick = (continuations: readonly string[], labels: readonly string[], answer: string): string =>
  continuations[labels.indexOf(answer)] ?? "";

const choiceText: Template = ({ question, choices, answer }, choiceLabels) => {
  const texts = choices.map((choice) => ` ${choice}`);
  const prompt = `Question: ${question}\nAnswer:`;
  return { prompt, answer: pick(texts, choiceLabels, answer), choices: texts, choiceLabels };
};

const choiceLabel: Template = ({ instruction, answer }, choiceLabels) => ({
  prompt: alpacaPrompt(instruction),
  answer: statedAnswer(answer),
  choices: choiceLabels.map(statedAnswer),
  choiceLabels,
});

const letter: Template = ({ question, choices, answer }, choiceLabels) => {
  const continuations = letterContinuations(choices.length);
  return {
    prompt: letteredPrompt(`Question: ${question}`, choices),
    answer: pick(continuations, choiceLabels, answer),
    choices: continuations,
    choiceLabels,
  };
};

const templates: Readonly<Record<string, Template>> = {
  "choice-text": choiceText,
  "choice-label": choiceLabel,
  letter,
};

const placeholder = (word: ChoiceWord): ChoiceExample => ({
  instruction: "{instruction}",
  question: "{question}",
  choices: ["{choice1}", "{choice2}"],
  answer: `${word}1`,
});

const readOutput = (output: string, options: ReadOptions, labels: readonly string[]): string | null => {
  const { reader, choices, template } = options;
  const known = choices === undefined ? labels : labels.slice(0, choices.length);
  if (template === "letter") {
    const read = readStatedLetter(output, { reader, count: known.length });
    return known[letters.findIndex((name) => name === read)] ?? null;
  }
  if (reader === "compat") return compatChoice(output, labels);
  return known[readChoiceText(output, choices ?? [])] ?? readChoice(output, known);
};

export interface ChoiceTaskOptions {
  readonly name: string;
  readonly version: number;
  readonly license: string;
  readonly origin: string;
  /** What the data calls a choice; `answer` by default. */
  readonly word?: ChoiceWord | undefined;
  readonly chance?: number | undefined;
  readonly hub?: HubSource | undefined;
}

/**
 * A multiple-choice benchmark in LLM-Adapters' JSON. Templates: `choice-text` (question → text of the right choice),
 * `choice-label` (LLM-Adapters' form: "the correct answer is answer2") and `letter` (lettered choices → the letter).
 */
export const choiceTask = (options: ChoiceTaskOptions): Task<ChoiceExample> => {
  const { name, version, license, origin, word = "answer", chance = 0.25, hub } = options;
  const labels = labelsOf(word);
  const render = (example: ChoiceExample, template: string): Rendered =>
    (templates[template] ?? choiceText)(example, labels.slice(0, example.choices.length));
  const task: Task<ChoiceExample> = {
    name,
    version,
    license,
    origin,
    hub,
    templates: Object.keys(templates),
    splits: ["train", "test"],
    scorers: ["generate", "label", "loglik"],
    scorerTemplates: { label: ["letter"] },
    chance,
    labels,
    metric: "accuracy",
    maxNewTokens: 64,
    load: async (load) => {
      checkSplit(task, load.split);
      return await loadChoiceExamples({ task: name, word, load });
    },
    render,
    read: (output, { choices }, reader, template) => ({
      answer: readOutput(output, { reader, choices, template }, labels),
    }),
    readOutput: (output, read) => ({ answer: readOutput(output, read, labels) }),
    correct: (example) => example.answer,
    templateSource: (template) => JSON.stringify(render(placeholder(word), template)),
  };
  return task;
};
