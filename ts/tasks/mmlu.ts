import { CsvError, parse } from "csv-parse/sync";
import { z } from "zod";
import { checkedRows } from "../data/read-rows.js";
import type { RawRow } from "../data/raw-rows.js";
import { parsed } from "../data/row.js";
import { MiloraError } from "../errors.js";
import { filled, findTaskFile, readTaskText, taskFile, type TaskFileOptions } from "./data-files.js";
import { type HubFiles, hubRows } from "./hub-source.js";
import { letterContinuations, letteredPrompt, letters, readStatedLetter } from "./lettered.js";
import { mmluSubjects, type MmluSubject } from "./mmlu-subjects.js";
import { readChoiceText } from "./readers/choice-text.js";
import { checkSplit, type LoadOptions, type ReadOptions, type Rendered, type Task } from "./task.js";

interface MmluQuestion {
  readonly question: string;
  readonly choices: readonly string[];
  /** A to D. */
  readonly answer: string;
}

export interface MmluExample extends MmluQuestion, MmluSubject {
  /** The subject's dev questions. */
  readonly shots: readonly MmluQuestion[];
}

const numShots = 5;
const numChoices = 4;
const known = letters.slice(0, numChoices);
const hint = "Take MMLU's dev and test folders (https://github.com/hendrycks/test) into the folder mmlu.";

const rowForm = "six fields: question, A, B, C, D, letter; none empty";
const row = z
  .array(z.string().regex(/\S/, { error: rowForm }), { error: rowForm })
  .length(numChoices + 2, { error: rowForm })
  .transform((fields, context): MmluQuestion => {
    const answer = (fields.at(-1) ?? "").trim();
    if (!known.some((letter) => letter === answer))
      context.addIssue({ code: "custom", path: [numChoices + 1], message: "A to D" });
    return { question: (fields[0] ?? "").trim(), choices: fields.slice(1, -1), answer };
  });

const records = z.array(z.object({ record: z.array(z.string()), info: z.object({ lines: z.number() }) }));

const lineBreaks = (fields: readonly string[]): number => fields.join("").split("\n").length - 1;

const rawRecords = (text: string): readonly RawRow[] => {
  try {
    const found = records.parse(parse(text, { info: true, relax_column_count: true, skip_empty_lines: true }));
    // csv-parse counts the lines up to the record's end.
    return found.map(({ record, info }) => ({
      line: info.lines - lineBreaks(record),
      item: undefined,
      value: record,
    }));
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    const line = typeof error["lines"] === "number" ? error["lines"] : undefined;
    return [
      { line, item: undefined, value: undefined, problem: { field: "", found: error.message, allowed: rowForm } },
    ];
  }
};

const readQuestions = async (file: string): Promise<readonly MmluQuestion[]> =>
  checkedRows(file, rawRecords(await readTaskText(file)), (value) => parsed(row, value, (question) => question));

const fileOptions = (dir: string | undefined, split: "dev" | "test", subjects: readonly MmluSubject[]) =>
  ({
    task: "mmlu",
    dir,
    folders: [`mmlu/${split}`],
    names: subjects.map(({ subject }) => `${subject}_${split}.csv`),
    hint,
  }) satisfies TaskFileOptions;

const loadSubject = async (subject: MmluSubject, dir: string | undefined): Promise<readonly MmluExample[]> => {
  const file = findTaskFile(fileOptions(dir, "test", [subject]));
  if (file === undefined) return [];
  const shotsFile = await taskFile(fileOptions(dir, "dev", [subject]));
  const shots = (await readQuestions(shotsFile)).slice(0, numShots);
  if (shots.length < numShots)
    throw new MiloraError("data/empty", `${shotsFile} holds ${shots.length} of the ${numShots} questions to show.`, {
      file: shotsFile,
      found: String(shots.length),
      allowed: `${numShots} rows or more`,
    });
  return (await readQuestions(file)).map((question) => ({ ...question, ...subject, shots }));
};

/** The subjects that are there, in alphabetic order; a result says how many. */
const load = async ({ split, dir }: LoadOptions): Promise<readonly MmluExample[]> => {
  checkSplit(mmlu, split);
  await taskFile(fileOptions(dir, "test", mmluSubjects));
  return (await Promise.all(mmluSubjects.map(async (subject) => await loadSubject(subject, dir)))).flat();
};

const csvField = (text: string): string => `"${text.replaceAll('"', '""')}"`;

const hubSplit = (split: "dev" | "test"): HubFiles =>
  hubRows({
    config: "all",
    split,
    fields: z.object({
      question: filled("the question's text"),
      subject: z.enum(
        mmluSubjects.map(({ subject }) => subject),
        { error: "one of MMLU's subjects" },
      ),
      choices: z.array(filled("a choice's text")).length(numChoices, { error: `${numChoices} choices` }),
      answer: z
        .int({ error: "0 to 3" })
        .min(0, { error: "0 to 3" })
        .max(numChoices - 1, { error: "0 to 3" }),
    }),
    map: ({ question, subject, choices, answer }) => ({
      row: { subject, line: [question, ...choices, known[answer] ?? ""].map(csvField).join(",") },
    }),
    files: (rows) =>
      Object.fromEntries(
        mmluSubjects.flatMap(({ subject }) => {
          const lines = rows.filter((of) => of.subject === subject).map(({ line }) => `${line}\n`);
          return lines.length === 0 ? [] : [[`mmlu/${split}/${subject}_${split}.csv`, lines.join("")]];
        }),
      ),
  });

const heading = (subject: string): string =>
  `The following are multiple choice questions (with answers) about ${subject.replaceAll("_", " ")}.\n\n`;

const pick = (continuations: readonly string[], answer: string): string =>
  continuations[known.findIndex((letter) => letter === answer)] ?? "";

/** The subject's dev questions with their answers, then the question, each as `ask` writes it. */
const fewShot = (
  example: MmluExample,
  ask: (question: MmluQuestion) => { readonly prompt: string; readonly choices: readonly string[] },
): Rendered => {
  const shots = example.shots.map((shot) => {
    const { prompt, choices } = ask(shot);
    return `${prompt}${pick(choices, shot.answer)}\n\n`;
  });
  const { prompt, choices } = ask(example);
  return {
    prompt: `${heading(example.subject)}${shots.join("")}${prompt}`,
    answer: pick(choices, example.answer),
    choices,
    choiceLabels: known,
  };
};

const letter = (example: MmluExample): Rendered =>
  fewShot(example, ({ question, choices }) => ({
    prompt: letteredPrompt(question, choices),
    choices: letterContinuations(numChoices),
  }));

const choiceText = (example: MmluExample): Rendered =>
  fewShot(example, ({ question, choices }) => ({
    prompt: `Question: ${question}\nAnswer:`,
    choices: choices.map((choice) => ` ${choice}`),
  }));

const templates: Readonly<Record<string, (example: MmluExample) => Rendered>> = { letter, "choice-text": choiceText };

const placeholderQuestion: MmluQuestion = {
  question: "{question}",
  choices: ["{choice1}", "{choice2}", "{choice3}", "{choice4}"],
  answer: "A",
};
const placeholder: MmluExample = {
  ...placeholderQuestion,
  subject: "{subject}",
  category: "{category}",
  shots: Array.from({ length: numShots }, () => placeholderQuestion),
};

const render = (example: MmluExample, template: string): Rendered => (templates[template] ?? letter)(example);

const readOutput = (output: string, { reader, choices = [], template }: ReadOptions): string | null => {
  if (template === "choice-text" && reader === "robust") return known[readChoiceText(output, choices)] ?? null;
  return readStatedLetter(output, { reader, count: numChoices });
};

/**
 * MMLU: 57 subjects, each asked after five solved questions of its dev set. Templates: `letter` (MMLU's own form) and
 * `choice-text` (the text of the right choice).
 */
export const mmlu: Task<MmluExample> = {
  name: "mmlu",
  version: 1,
  license: "MIT",
  origin: "MMLU (Hendrycks et al., arXiv 2009.03300) in its own CSV files",
  hub: {
    id: "cais/mmlu",
    revision: "c30699e8356da336a370243923dbaf21066bb9fe",
    splits: { test: [hubSplit("test"), hubSplit("dev")] },
  },
  templates: Object.keys(templates),
  splits: ["test"],
  scorers: ["generate", "label", "loglik"],
  scorerTemplates: { label: ["letter"] },
  shots: { letter: numShots, "choice-text": numShots },
  chance: 1 / numChoices,
  labels: known,
  metric: "accuracy",
  maxNewTokens: 16,
  load,
  render,
  read: (output, { choices }, reader, template) => ({ answer: readOutput(output, { reader, choices, template }) }),
  readOutput: (output, options) => ({ answer: readOutput(output, options) }),
  correct: ({ answer }) => answer,
  groupsOf: ({ subject, category }) => ({ subjects: subject, categories: category }),
  templateSource: (template) => JSON.stringify(render(placeholder, template)),
};
