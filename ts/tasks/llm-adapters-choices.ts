import { z } from "zod";
import { readTaskRows, taskFile } from "./data-files.js";
import type { LoadOptions } from "./task.js";

/** A multiple-choice question as LLM-Adapters' JSON holds it, taken apart. */
export interface ChoiceExample {
  /** LLM-Adapters' own instruction, whole. */
  readonly instruction: string;
  readonly question: string;
  readonly choices: readonly string[];
  /** `answer1` (or `solution1`) for the first choice, and so on. */
  readonly answer: string;
}

/** What LLM-Adapters calls a choice: PIQA has solutions, the others have answers. */
export type ChoiceWord = "answer" | "solution";

/** Where LLM-Adapters' data is. */
export const llmAdaptersHint =
  "Take the files from LLM-Adapters' dataset folder (https://github.com/AGI-Edgerunners/LLM-Adapters).";

const openingOf = (word: ChoiceWord): string => `Please choose the correct ${word} to the question:`;
const markerOf = (word: ChoiceWord, number: number): string =>
  `${word.charAt(0).toUpperCase()}${word.slice(1)}${number}:`;

/**
 * Cuts a text into what follows each of `markers`. They are looked for in order, each after the one before, so that a
 * choice's own words are never taken for one; undefined where one is missing.
 */
export const splitAtMarkers = (text: string, markers: readonly string[]): readonly string[] | undefined => {
  const starts: { readonly marker: number; readonly text: number }[] = [];
  for (const marker of markers) {
    const at = text.indexOf(marker, starts.at(-1)?.text ?? 0);
    if (at < 0) return undefined;
    starts.push({ marker: at, text: at + marker.length });
  }
  return starts.map((start, index) => text.slice(start.text, starts[index + 1]?.marker).trim());
};

// One line break, not several: a run of them would be tried from each of its places.
/** An instruction as LLM-Adapters writes it. */
export const choiceInstruction = (options: {
  readonly word: ChoiceWord;
  readonly question: string;
  readonly choices: readonly string[];
}): string => {
  const { word, question, choices } = options;
  const listed = choices.map((choice, index) => `${markerOf(word, index + 1)} ${choice}`);
  const format = choices.map((_, index) => `${word}${index + 1}`).join("/");
  const shown = listed.join(word === "solution" ? "\n\n" : " ");
  return `${openingOf(word)} ${question}\n\n${shown}\n\nAnswer format: ${format}`;
};

const formatLines = {
  answer: /\nAnswer format: (?<labels>answer1(?:\/answer\d)*)\s*$/,
  solution: /\nAnswer format: (?<labels>solution1(?:\/solution\d)*)\s*$/,
} as const;

/** Question and choices of an instruction; undefined where it is not in LLM-Adapters' form or one of them is empty. */
export const parseChoiceInstruction = (
  instruction: string,
  word: ChoiceWord = "answer",
): Pick<ChoiceExample, "question" | "choices"> | undefined => {
  const opening = openingOf(word);
  const format = formatLines[word].exec(instruction);
  const firstChoice = instruction.lastIndexOf(`\n\n${markerOf(word, 1)}`, format?.index ?? 0);
  if (format === null || firstChoice < 0 || !instruction.startsWith(opening)) return undefined;
  const question = instruction.slice(opening.length, firstChoice).trim();
  const count = (format.groups?.["labels"] ?? "").split("/").length;
  const markers = Array.from({ length: count }, (_, index) => markerOf(word, index + 1));
  const choices = splitAtMarkers(instruction.slice(firstChoice, format.index), markers);
  if (choices === undefined || question === "" || choices.some((choice) => choice === "")) return undefined;
  return { question, choices };
};

const exampleSchema = (word: ChoiceWord): z.ZodType<ChoiceExample> => {
  const form =
    `"${openingOf(word)} …", "${markerOf(word, 1)} … ${markerOf(word, 2)} …" with no empty choice, ` +
    `"Answer format: ${word}1/${word}2 …"`;
  const label = z.string({ error: `${word}1, ${word}2 …` });
  return z.object({ instruction: z.string({ error: form }), answer: label }).transform((item, context) => {
    const { instruction, answer } = item;
    const parts = parseChoiceInstruction(instruction, word);
    if (parts === undefined) {
      context.addIssue({ code: "custom", path: ["instruction"], message: form });
      return z.NEVER;
    }
    const count = parts.choices.length;
    const known = parts.choices.map((_, index) => `${word}${index + 1}`);
    if (!known.includes(answer))
      context.addIssue({ code: "custom", path: ["answer"], message: `${word}1 to ${word}${count}` });
    return { instruction, answer, ...parts };
  });
};

/**
 * Reads `<dir>/<task>/<split>.json`, or `.jsonl`. Errors: `input/missing-file`; `data/bad-row`, after all rows were checked;
 * `data/empty`.
 */
export const loadChoiceExamples = async (options: {
  readonly task: string;
  readonly word: ChoiceWord;
  readonly load: LoadOptions;
}): Promise<readonly ChoiceExample[]> => {
  const { task, word, load } = options;
  const file = await taskFile({
    task,
    dir: load.dir,
    names: [`${load.split}.json`, `${load.split}.jsonl`],
    hint: llmAdaptersHint,
  });
  return await readTaskRows(file, exampleSchema(word));
};
