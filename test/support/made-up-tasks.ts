import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { bbhTaskNames } from "../../ts/tasks/bbh.js";
import { mmluSubjects } from "../../ts/tasks/mmlu-subjects.js";
import { temporaryFolder } from "./temporary-folder.js";

/** Rows of our own in the files' forms: a text for a file that is written as it is, else a value written as JSON. */
type Files = Readonly<Record<string, unknown>>;

const choiceInstruction = (word: string, question: string, choices: readonly string[]): string => {
  const capital = `${word.charAt(0).toUpperCase()}${word.slice(1)}`;
  const gap = word === "solution" ? "\n\n" : " ";
  const listed = choices.map((choice, index) => `${capital}${index + 1}: ${choice}`).join(gap);
  const format = choices.map((_, index) => `${word}${index + 1}`).join("/");
  return `Please choose the correct ${word} to the question: ${question}\n\n${listed}\n\nAnswer format: ${format}`;
};

const choiceRows = (word: string) => [
  {
    instruction: choiceInstruction(word, "What keeps the fictional Zorb afloat?", ["a cork belt", "an iron ring"]),
    input: "",
    output: `the correct answer is ${word}1`,
    answer: `${word}1`,
  },
  {
    instruction: choiceInstruction(word, 'How do you fold a "quilp"?', ["twice, then once", "Never. It breaks"]),
    input: "",
    output: `the correct answer is ${word}2`,
    answer: `${word}2`,
  },
];

const boolqRow = (question: string, answer: string) => ({
  instruction: `Please answer the following question with true or false, question: ${question}?\n\nAnswer format: true/false`,
  input: "",
  output: `the correct answer is ${answer}`,
  answer,
});

const lines = (rows: readonly unknown[]): string => rows.map((row) => `${JSON.stringify(row)}\n`).join("");

const aquaRows = [
  {
    question: "A zorb rolls 6 m in 2 s. How fast is it?",
    options: ["A)2 m/s", "B)3 m/s", "C)12 m/s", "D)8 m/s", "E)none"],
    rationale: "6 / 2 = 3.\nAnswer: B",
    correct: "B",
  },
  { question: "Half of 9?", options: ["A) 4.5", "B) 5", "C) 3", "D) 9", "E) 18"], rationale: "9/2", correct: "A" },
];

const gsm8kRow = (count: number) => ({
  question: `Ann has ${count} zorbs and finds 2 more. How many has she?`,
  answer: `She has ${count} + 2 = <<${count}+2=${count + 2}>>${count + 2} zorbs.\n#### ${count + 2}`,
});

const mmluRow = (subject: string, index: number): string =>
  `"What is ${subject}, part ${index}, about?",one,"two, or ""2""",three,four,${"ABCD".charAt(index % 4)}\n`;

const mmluFiles = (subject: string): Files => ({
  [`mmlu/dev/${subject}_dev.csv`]: [0, 1, 2, 3, 4].map((index) => mmluRow(subject, index)).join(""),
  [`mmlu/test/${subject}_test.csv`]: [5, 6].map((index) => mmluRow(subject, index)).join(""),
});

/** An example of each kind of answer, by the task's name; tasks that are not named have options. */
const bbhExamples: Readonly<Record<string, { readonly input: string; readonly target: string }>> = {
  boolean_expressions: { input: "not ( True ) is", target: "False" },
  causal_judgement: { input: "Did the zorb cause it?\nOptions:\n- Yes\n- No", target: "No" },
  dyck_languages: { input: "Complete the rest of the sequence. Input: [ (", target: ") ]" },
  formal_fallacies: { input: "Is it valid?\nOptions:\n- valid \n- invalid", target: "invalid" },
  multistep_arithmetic_two: { input: "((1 - 3) * 2) =", target: "-4" },
  navigate: { input: "Do you return?\nOptions:\n- Yes\n- No", target: "Yes" },
  object_counting: { input: "How many zorbs?", target: "7" },
  sports_understanding: { input: "Is it plausible?", target: "yes" },
  web_of_lies: { input: "Does Zed tell the truth?", target: "No" },
  word_sorting: { input: "Sort: zorb ant", target: "ant zorb" },
};

const optionExample = { input: "Which?\nOptions:\n(A) a zorb\n(B) a quilp\n(C) neither", target: "(B)" };

const bbhFiles = (name: string): Files => ({
  [`bbh/${name}.json`]: { canary: "none", examples: [bbhExamples[name] ?? optionExample] },
  [`bbh/cot-prompts/${name}.txt`]:
    `a mark against training\n-----\nDo ${name}.\n\n` +
    [1, 2, 3].map((shot) => `Q: ${shot}?\nA: Let's think step by step.\nSo the answer is ${shot}.`).join("\n\n"),
});

const files: Files = {
  "arc-easy/train.json": choiceRows("answer"),
  "arc-easy/test.json": choiceRows("answer"),
  "arc-challenge/test.json": choiceRows("answer"),
  "openbookqa/test.json": choiceRows("answer"),
  "piqa/test.json": choiceRows("solution"),
  "boolq/test.json": [boolqRow("do zorbs float", "true"), boolqRow("is a quilp round", "false")],
  "boolq-passage/dev.jsonl": lines([
    { question: "do zorbs float", passage: "Zorbs wear cork belts.", title: "Zorb", answer: true },
    { question: "is a quilp round", passage: "Quilps are square.", title: "Quilp", answer: false },
  ]),
  "aqua/test.jsonl": lines(aquaRows),
  "gsm8k/train.jsonl": lines([1, 2, 3, 4, 5, 6].map(gsm8kRow)),
  "gsm8k/test.jsonl": lines([10, 1200].map(gsm8kRow)),
  "mt-bench/question.jsonl": lines([
    { question_id: 81, category: "writing", turns: ["Write about zorbs.", "Shorter, please."] },
    { question_id: 111, category: "math", turns: ["What is 2 + 2?", "And twice that?"], reference: ["4", "8"] },
  ]),
  "mt-bench/reference_answer_gpt-4.jsonl": lines([{ question_id: 111, choices: [{ index: 0, turns: ["4", "8"] }] }]),
  "alpaca/train.json": [
    { instruction: "Name a zorb.", input: "", output: "Zed." },
    { instruction: "Translate into Quilp.", input: "Hello", output: "Olleh" },
  ],
  ...Object.assign({}, ...mmluSubjects.map(({ subject }) => mmluFiles(subject))),
  ...Object.assign({}, ...bbhTaskNames.map(bbhFiles)),
};

/** Writes files into a new folder and gives its path. */
export const dataFolder = async (of: Files): Promise<string> => {
  const dir = await temporaryFolder();
  for (const [name, content] of Object.entries(of)) {
    const file = join(dir, name);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(
      file,
      typeof content === "string" || content instanceof Uint8Array ? content : JSON.stringify(content),
    );
  }
  return dir;
};

/** A data folder with made-up rows of every task that reads files. */
export const madeUpData = async (): Promise<string> => await dataFolder(files);
