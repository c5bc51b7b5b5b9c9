import { compatLetter } from "./readers/compat.js";
import { readLetter } from "./readers/letter.js";
import type { ReaderName } from "./readers/reader.js";

/** The labels of lettered choices. */
export const letters = ["A", "B", "C", "D", "E"] as const;

/** A question, its lettered choices, and `Answer:`, which a letter follows; MMLU's own form. */
export const letteredPrompt = (question: string, choices: readonly string[]): string =>
  [question, ...choices.map((choice, index) => `${letters[index]}. ${choice}`), "Answer:"].join("\n");

/** The letters of `count` choices as they follow the prompt. */
export const letterContinuations = (count: number): readonly string[] =>
  letters.slice(0, count).map((letter) => ` ${letter}`);

/** The letter that an output states, of the first `count`; null where none can be read. */
export const readStatedLetter = (
  output: string,
  { reader, count }: { readonly reader: ReaderName; readonly count: number },
): string | null => {
  const known = letters.slice(0, count);
  return reader === "compat" ? compatLetter(output, known) : readLetter(output, known);
};
