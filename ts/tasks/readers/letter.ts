import { escapeRegExp } from "../../util/text.js";
import { isNegated, isStated, type Mention, pickMention, withoutRunOn } from "./mentions.js";

/** `A` before a word in lower case is an article, not an answer: "A dog barks". */
const isArticle = (text: string, start: number): boolean => /^a\s+[a-z]/i.test(text.slice(start, start + 20));

/** `(D)`, or `D)` after a space or at the start of a line. */
const isMarked = (text: string, { start, end }: Mention): boolean =>
  text[end] === ")" && (start === 0 || /[\s(]/.test(text[start - 1] ?? ""));

/** A letter that stands in a formula, as in "A = P + 1" or "P(A/B)", names a quantity. */
const isInFormula = (text: string, { start, end }: Mention): boolean =>
  /^\s*[=+*/<>×^|&–-]/.test(text.slice(end)) || /(?:[=+*/×^|&]\s*|[\p{L}\p{N}]\()$/u.test(text.slice(0, start));

const isAloneOnLastLine = (text: string, { start, end }: Mention): boolean =>
  text.slice(end).trim().length <= 1 && /\n\s*$/.test(text.slice(0, start));

const isAnnounced = (text: string, mention: Mention): boolean =>
  isStated(text, mention.start) || isAloneOnLastLine(text, mention);

const accepts = (text: string, mention: Mention): boolean => {
  const written = text.slice(mention.start, mention.end);
  if (isInFormula(text, mention)) return false;
  if (isMarked(text, mention)) return true;
  if (isArticle(text, mention.start)) return false;
  if (written === written.toUpperCase()) return true;
  return isStated(text, mention.start) && /^(?:[.,;!]|\s*$)/.test(text.slice(mention.end));
};

/**
 * The letter that an output states; null where none can be read. A letter in brackets outranks a bare one.
 * `letters`: upper case, such as A to E.
 */
export const readLetter = (output: string, letters: readonly string[]): string | null => {
  const text = withoutRunOn(output);
  const anyOf = letters.map(escapeRegExp).join("");
  const pattern = new RegExp(`(?<![\\p{L}\\p{N}_'’])[${anyOf}](?![\\p{L}\\p{N}_'’])`, "giu");
  const mentions = [...text.matchAll(pattern)]
    .map((match) => ({ answer: match[0].toUpperCase(), start: match.index, end: match.index + match[0].length }))
    .filter((mention) => accepts(text, mention));
  const announced = mentions.findLast((mention) => isAnnounced(text, mention) && !isNegated(text, mention.start));
  if (announced !== undefined) return announced.answer;
  const marked = mentions.filter((mention) => isMarked(text, mention));
  return pickMention(text, marked.length > 0 ? marked : mentions);
};
