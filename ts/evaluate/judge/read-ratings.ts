/** Why a judge's reply gives no ratings. */
export type ReadingProblem = "empty-reply" | "no-rating" | "one-rating" | "several-ratings" | "out-of-range";

/** The ratings of a reply, one for each answer shown; or why it has none. */
export type RatingReading = { readonly ratings: readonly number[] } | { readonly problem: ReadingProblem };

interface Candidate {
  /** Which answer it is for, from 0; undefined where the reply doesn't say. */
  readonly answer?: number | undefined;
  readonly value: number;
  /** What it is out of, where the reply says. */
  readonly outOf: number;
}

const lowestRating = 1;
const highestRating = 10;

const number = String.raw`(-?\d+(?:[.,]\d+)?)`;
const scale = String.raw`(?:[ \t]*(?:/|out of)[ \t]*(\d+(?:[.,]\d+)?))?`;
/** The number is whole, and no range ("from 1 to 10") or fraction begins with it. */
const numberEnds = String.raw`(?![.,]?\d)(?![ \t]*(?:/|out of|-|–|—|to)[ \t]*\d)`;
const markup = String.raw`[ \t*_"'(]*`;
const ratingWord = String.raw`(?:rating|score|grade)s?\b${markup}(?:is|of|would be|[:=–-])?${markup}`;

const bracketed = new RegExp(String.raw`\[\[[ \t]*(?:[a-z ]+:[ \t]*)?${number}${scale}[ \t]*\]\]`, "gi");
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
  String.raw`(?:\b(?:[Aa]ssistant|[Aa]nswer|[Rr]esponse|[Rr]eply|[Mm]odel)[ \t*_]*([AB12])\b` +
  String.raw`|\b([AB])(?=[ \t*_]*[:=]))`;
const answerNames = new RegExp(answerName, "g");
const ratedAnswer = new RegExp(
  String.raw`${answerName}(?:'s)?[ \t:=*_()–-]*(?:(?:[Rr]ating|[Ss]core|[Gg]rade|gets|receives|earns|is|of)` +
    String.raw`[ \t:=*_–-]*){0,3}${number}${scale}${numberEnds}`,
  "g",
);

const value = (text = ""): number => Number(text.replace(",", "."));

const candidate = (text: string | undefined, outOf: string | undefined): Candidate => ({
  value: value(text),
  outOf: outOf === undefined ? highestRating : value(outOf),
});

const candidates = (pattern: RegExp, text: string): readonly Candidate[] =>
  [...text.matchAll(pattern)].map(([, found, outOf]) => candidate(found, outOf));

const answerIndex = (name: string): number => (["A", "1"].includes(name.toUpperCase()) ? 0 : 1);

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

/** Ratings in brackets, each with the answer that was named last before it. */
const bracketedForAnswers = (reply: string): readonly Candidate[] => {
  let readTo = 0;
  return [...reply.matchAll(bracketed)].map((match) => {
    const before = reply.slice(readTo, match.index);
    readTo = match.index + match[0].length;
    const named = [...before.matchAll(answerNames)].at(-1);
    const name = named?.[1] ?? named?.[2];
    return { ...candidate(match[1], match[2]), answer: name === undefined ? undefined : answerIndex(name) };
  });
};

const inOrder = (pattern: RegExp, reply: string): readonly Candidate[] =>
  [...reply.matchAll(pattern)].flatMap(([, first, second]) => [
    { ...candidate(first, undefined), answer: 0 },
    { ...candidate(second, undefined), answer: 1 },
  ]);

const pairForms = (reply: string): readonly (readonly Candidate[])[] => [
  inOrder(bracketedPair, reply),
  bracketedForAnswers(reply),
  [...reply.matchAll(ratedAnswer)].map(([, name = "", letter = "", found, outOf]) => ({
    ...candidate(found, outOf),
    answer: answerIndex(name === "" ? letter : name),
  })),
  inOrder(twoNumbers, reply),
];

const readPair = (found: readonly Candidate[]): RatingReading => {
  if (found.length === 0) return { problem: "no-rating" };
  // Two ratings without names stand in the order of the answers.
  const placed =
    found.length === 2 ? found.map((one, position) => ({ ...one, answer: one.answer ?? position })) : found;
  if (placed.some(({ answer }) => answer === undefined)) {
    return { problem: found.length === 1 ? "one-rating" : "several-ratings" };
  }
  const ratings: number[] = [];
  for (const answer of [0, 1]) {
    const own = placed.filter((one) => one.answer === answer);
    if (own.length === 0) return { problem: "one-rating" };
    const reading = agreed(own);
    if ("problem" in reading) return reading;
    ratings.push(...reading.ratings);
  }
  return { ratings };
};

/** What a reasoning model wrote to itself is no verdict. */
const withoutThoughts = (reply: string): string => reply.replaceAll(/<think>[\s\S]*?(?:<\/think>|$)/gi, "");

/**
 * Reads a judge's ratings, from 1 to 10: `[[7]]`, `Rating: 7.5/10`, `Assistant A: [[8]]`, a line `8 5`. Different
 * ratings for the same answer, one on another scale or outside 1 to 10, or one where two are due are no ratings.
 */
export const readRatings = (reply: string, answers: 1 | 2): RatingReading => {
  const verdict = withoutThoughts(reply);
  if (verdict.trim() === "") return { problem: "empty-reply" };
  const forms = answers === 1 ? singleForms(verdict) : pairForms(verdict);
  const found = forms.find((form) => form.length > 0) ?? [];
  return answers === 1 ? agreed(found) : readPair(found);
};
