import { escapeRegExp } from "../../util/text.js";
import { isNegated, isStated, type Mention, pickMention, withoutRunOn } from "./mentions.js";

/** `A` before a word in lower case is an article, not an answer: "A dog barks". */
const isArticle = (text: string, start: number): boolean => /^a\s+[a-z]/i.test(text.slice(start, start + 20));

/** `(D)`, or `D)` after a space or at the start of a line. */
const isMarked = (text: string, { start, end }: Mention): boolean =>
  text[end] === ")" && (start === 0 || /[\s(]/.test(text[start - 1] ?? ""));

/** Characters looked at on either side of a letter; enough for any operator, and long texts stay cheap. */
const reach = 20;

const before = (text: string, { start }: Mention): string => text.slice(Math.max(0, start - reach), start);
const after = (text: string, { end }: Mention): string => text.slice(end, end + reach);

const endsText = (text: string, { end }: Mention): boolean => text.slice(end).trim().length <= 1;

/** The letter that a last line's value is set equal to: "20 x 14/100 = 3=C". */
const endsEquation = (text: string, mention: Mention): boolean =>
  endsText(text, mention) && /\d\s*=\s*$/.test(before(text, mention));

/** A letter that stands in a formula, as in "A = P + 1" or "P(A/B)", names a quantity; "answer = B" does not. */
const isInFormula = (text: string, mention: Mention): boolean => {
  if (/^\s*[=+*/<>×^|&]/.test(after(text, mention))) return true;
  if (isStated(text, mention.start) || endsEquation(text, mention)) return false;
  return /^\s*[–-]/.test(after(text, mention)) || /(?:[=+*/×^|&]\s*|[\p{L}\p{N}]\()$/u.test(before(text, mention));
};

const isAloneOnLastLine = (text: string, mention: Mention): boolean =>
  endsText(text, mention) && /\n\s*$/.test(before(text, mention));

/** "Each answer choice: (A) can never be true" goes through the choices; it announces none. */
const goesThroughAll = (text: string, { start }: Mention): boolean =>
  /\b(?:each|every|all|the)\s+(?:of\s+the\s+)?(?:answer\s+)?(?:choices?|options?|answers)\s*[:–-]\s*\($/i.test(
    text.slice(Math.max(0, start - 2 * reach), start),
  );

const isAnnounced = (text: string, mention: Mention): boolean =>
  (isStated(text, mention.start) && !goesThroughAll(text, mention)) ||
  isAloneOnLastLine(text, mention) ||
  endsEquation(text, mention);

const accepts = (text: string, mention: Mention): boolean => {
  const written = text.slice(mention.start, mention.end);
  if (isInFormula(text, mention)) return false;
  if (isMarked(text, mention)) return true;
  if (isArticle(text, mention.start)) return false;
  if (written === written.toUpperCase()) return true;
  return isStated(text, mention.start) && /^(?:[.,;!]|\s*$)/.test(text.slice(mention.end));
};

/** The only letter that the last sentence names, after others: "(A) is never true, … and (B) must be true." */
const concluding = (text: string, marked: readonly Mention[]): string | null => {
  const lastSentence = [...text.trimEnd().matchAll(/[.!?]\s|\n/g)].at(-1)?.index ?? -1;
  const named = marked.filter(({ start }) => start > lastSentence);
  return named.length === 1 && marked.length > 1 ? (named.at(0)?.answer ?? null) : null;
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
  const affirmed = mentions.filter((mention) => !isNegated(text, mention.start));
  const announced = affirmed.findLast((mention) => isAnnounced(text, mention));
  if (announced !== undefined) return announced.answer;
  const marked = affirmed.filter((mention) => isMarked(text, mention));
  return concluding(text, marked) ?? pickMention(text, marked.length > 0 ? marked : affirmed);
};
