import { z } from "zod";
import { alpacaPrompt } from "../data/alpaca-prompt.js";
import { statedAnswer } from "./choice-task.js";
import { filled, readTaskRows, rowByFields, taskFile } from "./data-files.js";
import { type HubFiles, hubRows, linesFile } from "./hub-source.js";
import { letterContinuations, letteredPrompt, letters, readStatedLetter } from "./lettered.js";
import { splitAtMarkers } from "./llm-adapters-choices.js";
import { reasonedTarget } from "./rationale.js";
import { readChoiceText } from "./readers/choice-text.js";
import { readLetter } from "./readers/letter.js";
import { checkSplit, type LoadOptions, type ReadOptions, type Rendered, type Task } from "./task.js";

export interface AquaExample {
  readonly question: string;
  readonly choices: readonly string[];
  readonly rationale: string;
  /** A to E. */
  readonly answer: string;
}

const hint = "Take AQuA's own train.json, dev.json and test.json (https://github.com/google-deepmind/AQuA).";

const optionPattern = /^(?<letter>[A-E])\)(?<text>[^]*)$/;
const optionForm = '"A)…" to "E)…" in order, none empty';

const choicesOf = (options: readonly string[]): readonly string[] | undefined => {
  const matches = options.map((option) => optionPattern.exec(option)?.groups);
  const inOrder = matches.every((match, index) => match?.["letter"] === letters[index]);
  const texts = matches.map((match) => match?.["text"]?.trim() ?? "");
  return inOrder && !texts.includes("") ? texts : undefined;
};

const checkedAnswer = (
  { choices, answer }: AquaExample,
  field: string,
): { readonly path: string[]; readonly message: string } | undefined => {
  const known = letters.slice(0, choices.length);
  if (known.some((letter) => letter === answer)) return undefined;
  return { path: [field], message: `A to ${known.at(-1)}` };
};

const ownRow = z
  .object({
    question: filled("the question's text"),
    options: z.array(z.string(), { error: optionForm }).min(2, { error: optionForm }),
    rationale: z.string().default(""),
    correct: z.string({ error: "A to E" }),
  })
  .transform(({ question, options, rationale, correct }, context): AquaExample => {
    const choices = choicesOf(options);
    if (choices === undefined) {
      context.addIssue({ code: "custom", path: ["options"], message: optionForm });
      return z.NEVER;
    }
    const example = { question: question.trim(), choices, rationale: rationale.trim(), answer: correct };
    const problem = checkedAnswer(example, "correct");
    if (problem !== undefined) context.addIssue({ code: "custom", ...problem });
    return example;
  });

const instructionForm = '"… Answer Choices: (A) … (B) …", none empty';
const instructionPattern = /^(?<question>[^]*\S)\s+Answer Choices:\s*(?<choices>\(A\)[^]*)$/;

/** LLM-Adapters' rows: the choices in the instruction, another model's rationale as the output. */
const instructionRow = z
  .object({
    instruction: filled(instructionForm),
    output: z.string().default(""),
    answer: z.string({ error: "A to E" }),
  })
  .transform(({ instruction, output, answer }, context): AquaExample => {
    const { question = "", choices: text = "" } = instructionPattern.exec(instruction)?.groups ?? {};
    const markers = letters.map((letter) => `(${letter})`).filter((marker) => text.includes(marker));
    const choices = splitAtMarkers(text, markers) ?? [];
    if (choices.length < 2 || choices.includes("")) {
      context.addIssue({ code: "custom", path: ["instruction"], message: instructionForm });
      return z.NEVER;
    }
    const example = { question, choices, rationale: output.trim().replace(/^Rationale:\s*/, ""), answer };
    const problem = checkedAnswer(example, "answer");
    if (problem !== undefined) context.addIssue({ code: "custom", ...problem });
    return example;
  });

const row = rowByFields((value) => ("instruction" in value ? instructionRow : ownRow));

const load = async ({ split, dir }: LoadOptions): Promise<readonly AquaExample[]> => {
  checkSplit(aqua, split);
  return await readTaskRows(
    await taskFile({ task: "aqua", dir, names: [`${split}.jsonl`, `${split}.json`], hint }),
    row,
  );
};

const hubSplit = (split: string, file: string): HubFiles =>
  hubRows({
    config: "raw",
    split,
    fields: z.object({
      question: filled("the question's text"),
      options: z.array(z.string(), { error: optionForm }),
      rationale: z.string(),
      correct: z.string({ error: "A to E" }),
    }),
    map: (of) => ({ row: of }),
    files: linesFile(file),
  });

const labelsOf = ({ choices }: AquaExample): readonly string[] => letters.slice(0, choices.length);

const pick = (continuations: readonly string[], example: AquaExample): string =>
  continuations[labelsOf(example).indexOf(example.answer)] ?? "";

/** The question with its choices in brackets, as LLM-Adapters writes it. */
const withChoices = ({ question, choices }: AquaExample): string =>
  `${question} Answer Choices: ${choices.map((choice, index) => `(${letters[index]}) ${choice}`).join(" ")}`;

const target = ({ rationale, answer }: AquaExample): string =>
  reasonedTarget({
    rationale,
    answer,
    statement: `The answer is (${answer}).`,
    read: (text) => readLetter(text, letters),
  });

const rationale = (example: AquaExample): Rendered => ({
  prompt: `Question: ${withChoices(example)}\nAnswer:`,
  answer: ` ${target(example)}`,
});

const instruction = (example: AquaExample): Rendered => ({
  prompt: alpacaPrompt(withChoices(example)),
  answer: target(example),
});

const choiceText = (example: AquaExample): Rendered => {
  const choices = example.choices.map((choice) => ` ${choice}`);
  const prompt = `Question: ${example.question}\nAnswer:`;
  return { prompt, answer: pick(choices, example), choices, choiceLabels: labelsOf(example) };
};

const choiceLabel = (example: AquaExample): Rendered => ({
  prompt: alpacaPrompt(withChoices(example)),
  answer: statedAnswer(example.answer),
  choices: labelsOf(example).map(statedAnswer),
  choiceLabels: labelsOf(example),
});

const letter = (example: AquaExample): Rendered => {
  const choices = letterContinuations(example.choices.length);
  const prompt = letteredPrompt(`Question: ${example.question}`, example.choices);
  return { prompt, answer: pick(choices, example), choices, choiceLabels: labelsOf(example) };
};

const templates: Readonly<Record<string, (example: AquaExample) => Rendered>> = {
  rationale,
  instruction,
  "choice-text": choiceText,
  "choice-label": choiceLabel,
  letter,
};

const placeholder: AquaExample = {
  question: "{question}",
  choices: ["{choice1}", "{choice2}"],
  rationale: "{rationale}",
  answer: "A",
};

const render = (example: AquaExample, template: string): Rendered => (templates[template] ?? rationale)(example);

const readOutput = (output: string, { reader, choices = [], template }: ReadOptions): string | null => {
  // LLM-Adapters' rule knows five letters, however many choices there are.
  const count = reader === "robust" && choices.length > 0 ? choices.length : letters.length;
  const byText = reader === "robust" && template !== "letter" ? letters[readChoiceText(output, choices)] : undefined;
  return byText ?? readStatedLetter(output, { reader, count });
};

/**
 * AQuA: algebra with five choices, answered by a rationale that states a letter. Templates: `rationale`,
 * `instruction` (LLM-Adapters' form of it), and `choice-text`, `choice-label`, `letter` without a rationale.
 */
export const aqua: Task<AquaExample> = {
  name: "aqua",
  version: 1,
  license: "Apache-2.0",
  origin: "AQuA-RAT (Ling et al., arXiv 1705.04146) in its own JSON lines",
  hub: {
    id: "deepmind/aqua_rat",
    revision: "33301c6a050c96af81f63cad5562cb5363e88971",
    splits: {
      train: [hubSplit("train", "aqua/train.jsonl")],
      dev: [hubSplit("validation", "aqua/dev.jsonl")],
      test: [hubSplit("test", "aqua/test.jsonl")],
    },
  },
  templates: Object.keys(templates),
  splits: ["train", "dev", "test"],
  scorers: ["generate", "label", "loglik"],
  scorerTemplates: { label: ["letter"], loglik: ["choice-text", "choice-label", "letter"] },
  chance: 0.2,
  labels: letters,
  metric: "accuracy",
  maxNewTokens: 256,
  load,
  render,
  read: (output, { choices }, reader, template) => ({ answer: readOutput(output, { reader, choices, template }) }),
  readOutput: (output, options) => ({ answer: readOutput(output, options) }),
  correct: ({ answer }) => answer,
  templateSource: (template) => JSON.stringify(render(placeholder, template)),
};
