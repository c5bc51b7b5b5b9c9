import { escapeRegExp } from "../../util/text.js";
import { type Mention, pickMention, withoutRunOn } from "./mentions.js";

/** A label as outputs write it: any case, and `answer 2`, `Answer (2)` for `answer2`. */
const labelPattern = (label: string): string => {
  const numbered = /^(?<word>\p{L}+)(?<number>\d+)$/u.exec(label)?.groups;
  if (numbered === undefined) return escapeRegExp(label);
  return `${escapeRegExp(numbered["word"] ?? "")}[\\s#(]{0,3}${numbered["number"] ?? ""}`;
};

const mentionsOf = (text: string, label: string): readonly Mention[] => {
  // Whole words only: "answer12" names none of answer1 … answer5, and "untrue" is not "true".
  const pattern = new RegExp(`(?<![\\p{L}\\p{N}_])${labelPattern(label)}(?![\\p{L}\\p{N}_]|[.,]\\d)`, "giu");
  return [...text.matchAll(pattern)].map((match) => ({
    answer: label,
    start: match.index,
    end: match.index + match[0].length,
  }));
};

/** Every place where a label is named, in the order of the text. */
export const findLabels = (text: string, labels: readonly string[]): readonly Mention[] =>
  labels.flatMap((label) => mentionsOf(text, label)).toSorted((left, right) => left.start - right.start);

/** The one of `labels` that an output states, such as `answer2` or `bug`; null where none can be read. */
export const readChoice = (output: string, labels: readonly string[]): string | null => {
  const text = withoutRunOn(output);
  return pickMention(text, findLabels(text, labels));
};
