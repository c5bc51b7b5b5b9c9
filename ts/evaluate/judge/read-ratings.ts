import { namesAnswers, type RatedAnswer, rateAnswers } from "./rated-answer.js";

/** Why a judge's reply gives no ratings; `unclear-names`: it does not say which rating is whose. */
export type ReadingProblem =
  | "empty-reply"
  | "no-rating"
  | "one-rating"
  | "several-ratings"
  | "unclear-names"
  | "out-of-range";

/** The ratings of a reply, one for each answer shown; or why it has none. */
export type RatingReading = { readonly ratings: readonly number[] } | { readonly problem: ReadingProblem };

interface Candidate {
  readonly value: number;
  /** What it is out of, where the reply says. */
  readonly outOf: number;
}

/** A candidate, and which of two answers it is for. */
interface NamedCandidate extends Candidate {
  readonly answer: RatedAnswer;
}

const lowestRating = 1;
const highestRating = 10;

const number = String.raw`(-?\d+(?:[.,]\d+)?)`;
const scale = String.raw`(?:[ \t]*(?:/|out of)[ \t]*(\d+(?:[.,]\d+)?))?`;
/** The number is whole, and no range ("from 1 to 10") or fraction begins with it. */
const numberEnds = String.raw`(?![.,]?\d)(?![ \t]*(?:/|out of|-|–|—|to)[ \t]*\d)`;
const markup = String.raw`[ \t*_"'(]*`;
const ratingWord = String.raw`(?:rating|score|grade)s?\b${markup}(?:is|of|would be|[:=–-])?${markup}`;

const bracketed = new RegExp(String.raw`\[\[[ \t]*(?:[a-z ]+:[ \t]*)?${number}${scale}[ \t]*\]\]`, "dgi");
const bracketedPair = new RegExp(String.raw`\[\[[ \t]*${number}[ \t]*[,;][ \t]+${number}[ \t]*\]\]`, "g");
const ratingLine = new RegExp(
  String.raw`^[^\w\n-]*(?:\w+[ \t]+){0,2}${ratingWord}${number}${scale}${numberEnds}`,
  "gim",
);
const ratingAnywhere = new RegExp(String.raw`\b${ratingWord}${number}${scale}${numberEnds}`, "gi");
const numberAlone = new RegExp(String.raw`^[^\w-]*${number}${scale}[^\w]*$`, "g");
const twoNumbers = new RegExp(String.raw`^[ \t]*${number}[ \t]*[ \t,;][ \t]*${number}[ \t]*$`, "gm");

/** The letter is a capital: "the answer a user wants" names none. */
const answerName =
  String.raw`(?:\b(?:[Aa]ssistant|[Aa]nswer|[Rr]esponse|[Rr]eply|[Mm]odel)[ \t*_]*[AB12]\b` +
  String.raw`|\b[AB](?=[ \t*_]*[:=]))`;
const ratedAnswer = new RegExp(
  String.raw`${answerName}(?:'s)?[ \t:=*_()–-]*(?:(?:[Rr]ating|[Ss]core|[Gg]rade|gets|receives|earns|is|of)` +
    String.raw`[ \t:=*_–-]*){0,3}${number}${scale}${numberEnds}`,
  "dg",
);

const value = (text = ""): number => Number(text.replace(",", "."));

const candidate = (text: string | undefined, outOf: string | undefined): Candidate => ({
  value: value(text),
  outOf: outOf === undefined ? highestRating : value(outOf),
});

const candidates = (pattern: RegExp, text: string): readonly Candidate[] =>
  [...text.matchAll(pattern)].map(([, found, outOf]) => candidate(found, outOf));

const outside = ({ value: found, outOf }: Candidate): boolean =>
  outOf !== highestRating || found < lowestRating || found > highestRating;

/** The one value that all candidates agree on. */
const agreed = (found: readonly Candidate[]): RatingReading => {
  const [first] = found;
  if (first === undefined) return { problem: "no-rating" };
  if (found.some(outside)) return { problem: "out-of-range" };
  if (found.some((other) => other.value !== first.value)) return { problem: "several-ratings" };
  return { ratings: [first.value] };
};

/** Brackets are what a judge is told to write; the other forms count only where there are none. */
const singleForms = (reply: string): readonly (readonly Candidate[])[] => [
  candidates(bracketed, reply),
  candidates(ratingLine, reply),
  candidates(ratingAnywhere, reply),
  candidates(numberAlone, reply.trimEnd().split("\n").at(-1) ?? ""),
];

/** The matches of a pattern, each with the answer that it is for. */
const candidatesForAnswers = (pattern: RegExp, reply: string): readonly NamedCandidate[] =>
  rateAnswers(reply, (line) =>
    [...line.matchAll(pattern)].map((match) => {
      const [whole, found, outOf] = match;
      const numberAt = match.indices?.[1]?.[0] ?? match.index;
      return { ...candidate(found, outOf), start: match.index, numberAt, end: match.index + whole.length };
    }),
  );

/** Two numbers in one, the first answer's first; beside names they may stand in any order. */
const inOrder = (pattern: RegExp, reply: string): readonly NamedCandidate[] =>
  reply.split("\n").flatMap((line) => {
    const found = [...line.matchAll(pattern)];
    const isUnclear = found.length > 0 && namesAnswers(line);
    return found.flatMap(([, first, second]): readonly NamedCandidate[] => [
      { ...candidate(first, undefined), answer: isUnclear ? "unclear" : 0 },
      { ...candidate(second, undefined), answer: isUnclear ? "unclear" : 1 },
    ]);
  });

const bracketedPairForms = (reply: string): readonly (readonly NamedCandidate[])[] => [
  inOrder(bracketedPair, reply),
  candidatesForAnswers(bracketed, reply),
];

const pairForms = (reply: string): readonly (readonly NamedCandidate[])[] => [
  ...bracketedPairForms(reply),
  candidatesForAnswers(ratedAnswer, reply),
  inOrder(twoNumbers, reply),
];

/** Two ratings stand in the order of the answers only where neither has a name. */
const placed = (found: readonly NamedCandidate[]): readonly NamedCandidate[] =>
  found.length === 2 && found.every(({ answer }) => answer === undefined)
    ? found.map((one, position) => ({ ...one, answer: position === 0 ? 0 : 1 }))
    : found;

const readPair = (found: readonly NamedCandidate[]): RatingReading => {
  if (found.length === 0) return { problem: "no-rating" };
  if (found.length === 1) return { problem: "one-rating" };
  const all = placed(found);
  if (all.every(({ answer }) => answer === undefined)) return { problem: "several-ratings" };
  if (all.some(({ answer }) => answer === undefined || answer === "unclear")) return { problem: "unclear-names" };
  const ratings: number[] = [];
  for (const answer of [0, 1]) {
    const own = all.filter((one) => one.answer === answer);
    if (own.length === 0) return { problem: "one-rating" };
    const reading = agreed(own);
    if ("problem" in reading) return reading;
    ratings.push(...reading.ratings);
  }
  return { ratings };
};

/** What a reasoning model wrote to itself is no verdict. */
const withoutThoughts = (reply: string): string => reply.replaceAll(/<think>[\s\S]*?(?:<\/think>|$)/gi, "");

const firstForm = <Found>(forms: readonly (readonly Found[])[]): readonly Found[] =>
  forms.find((form) => form.length > 0) ?? [];

/**
 * Reads a judge's ratings, from 1 to 10: `[[7]]`, `Rating: 7.5/10`, `Assistant A: [[8]]`, a line `8 5`. Different
 * ratings for the same answer, one on another scale or outside 1 to 10, or one where two are due are no ratings; nor
 * are two that may be swapped.
 */
export const readRatings = (reply: string, answers: 1 | 2): RatingReading => {
  const verdict = withoutThoughts(reply);
  if (verdict.trim() === "") return { problem: "empty-reply" };
  return answers === 1 ? agreed(firstForm(singleForms(verdict))) : readPair(firstForm(pairForms(verdict)));
};

/** The ratings of a reply that was cut off: in double brackets only, as `Rating: 1` may be the beginning of a 10. */
export const readCutOffRatings = (reply: string, answers: 1 | 2): RatingReading => {
  const verdict = withoutThoughts(reply);
  return answers === 1 ? agreed(candidates(bracketed, verdict)) : readPair(firstForm(bracketedPairForms(verdict)));
};
