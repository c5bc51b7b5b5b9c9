import { isStated, withoutRunOn } from "./mentions.js";

/** Sign, thousands separators, decimals, a fraction; a minus that touches a digit or letter before it, or none after it, is an operator. */
const numberPattern =
  /(?<![\p{L}\p{N}_.])(?:(?<![\p{N}\p{L})])[-−])?(?:[$€£]\s?)?(?<whole>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)(?:\s*\/\s*(?<divisor>\d+(?:\.\d+)?))?/gu;

interface NumberMention {
  readonly value: number;
  readonly start: number;
  readonly end: number;
}

const findNumbers = (text: string): readonly NumberMention[] =>
  [...text.matchAll(numberPattern)].flatMap((match) => {
    const size = Number((match.groups?.["whole"] ?? "").replaceAll(",", ""));
    const divisor = Number(match.groups?.["divisor"] ?? 1);
    const signed = /^[-−]/.test(match[0]) ? -size : size;
    const value = signed / divisor;
    return Number.isFinite(value) ? [{ value, start: match.index, end: match.index + match[0].length }] : [];
  });

/** True for a number that opens the output and ends its sentence: "576. Check: …", not "4 + 4 = 8". */
const opensAsAnswer = (before: string, after: string): boolean =>
  /^[\s"'“(*=]*$/.test(before) && /^(?: \p{L}+)?\s*(?:[.;\n](?!\d)|$)/u.test(after);

/**
 * The number that an output states, in its shortest decimal form: the last announced one, else the one it opens
 * with, else its last. Fractions are divided: "The answer is 1/2." is `0.5`. Null where there is no number.
 */
export const readNumber = (output: string): string | null => {
  const text = withoutRunOn(output);
  const numbers = findNumbers(text);
  const first = numbers.find(({ start, end }) => opensAsAnswer(text.slice(0, start), text.slice(end)));
  const chosen = numbers.findLast(({ start }) => isStated(text, start)) ?? first ?? numbers.at(-1);
  // Adding 0 makes −0 read as 0.
  return chosen === undefined ? null : String(chosen.value + 0);
};
