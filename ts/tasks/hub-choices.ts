import { z } from "zod";
import type { RowReading } from "../data/row.js";
import { filled } from "./data-files.js";
import { type HubFiles, hubRows, linesFile } from "./hub-source.js";
import { choiceInstruction, type ChoiceWord } from "./llm-adapters-choices.js";

/** A row as LLM-Adapters' files hold it. */
export interface InstructionRow {
  readonly instruction: string;
  readonly input: string;
  readonly output: string;
  readonly answer: string;
}

/** LLM-Adapters' row of an instruction and the label that answers it. */
export const instructionRow = (instruction: string, answer: string): InstructionRow => ({
  instruction,
  input: "",
  output: `the correct answer is ${answer}`,
  answer,
});

/** LLM-Adapters' row of a question whose right choice is at `answer`, from 0. */
export const choiceRow = (options: {
  readonly word: ChoiceWord;
  readonly question: string;
  readonly choices: readonly string[];
  readonly answer: number;
}): InstructionRow => instructionRow(choiceInstruction(options), `${options.word}${options.answer + 1}`);

const choices = z.object({ text: z.array(filled("a choice's text")).min(2), label: z.array(z.string()).min(2) });

const readChoiceRow = (
  question: string,
  { text, label }: z.output<typeof choices>,
  answerKey: string,
): RowReading<InstructionRow> => {
  const answer = label.indexOf(answerKey);
  if (answer < 0 || answer >= text.length)
    return { problem: { field: "answerKey", found: JSON.stringify(answerKey), allowed: label.join(", ") } };
  return { row: choiceRow({ word: "answer", question, choices: text, answer }) };
};

interface AllenChoices {
  readonly config: string;
  readonly split: string;
  /** The task's file. */
  readonly file: string;
}

/** AI2's form of ARC: a question, choices with their labels, the right label. */
export const arcRows = ({ config, split, file }: AllenChoices): HubFiles =>
  hubRows({
    config,
    split,
    fields: z.object({ question: filled("the question's text"), choices, answerKey: z.string() }),
    map: ({ question, choices: of, answerKey }) => readChoiceRow(question, of, answerKey),
    files: linesFile(file),
  });

/** AI2's form of OpenBookQA: that of ARC with the question under another name. */
export const openBookRows = ({ config, split, file }: AllenChoices): HubFiles =>
  hubRows({
    config,
    split,
    fields: z.object({ question_stem: filled("the question's text"), choices, answerKey: z.string() }),
    map: ({ question_stem: question, choices: of, answerKey }) => readChoiceRow(question, of, answerKey),
    files: linesFile(file),
  });
