/** Which of two answers a rating is for, from 0; `unclear` where its line may mean either, undefined where it names none. */
export type RatedAnswer = 0 | 1 | "unclear" | undefined;

interface Mention {
  readonly answer: 0 | 1;
  readonly start: number;
  readonly end: number;
}

const noun = "(?:[Aa]ssistant|[Aa]nswer|[Rr]esponse|[Rr]eply|[Mm]odel)";
const alone = "(?![A-Za-z0-9])";
/** Every capital A or B that stands alone counts, an article too: a name that is overlooked would swap ratings. */
const mention = new RegExp(
  String.raw`\b${noun}[ \t*_#]*([AB12])${alone}|\b[Aa]ssistant[ \t*_]+([ab])${alone}|(?<![A-Za-z0-9])([AB])${alone}`,
  "g",
);
/** Other words for one of the two; whose they are can't be told. */
const vague = /\b(?:first|second|former|latter|other)\b/i;

const ratingWord = "(?:rating|score|grade)s?";
/** From a name to its rating: "B gets [[9]]", "**Assistant A's rating:** [[8]]". */
const connection = new RegExp(
  String.raw`^(?:['’]s\b|[^\p{L}\p{N}]|\b(?:${ratingWord}|reply|answer|response|last|final|overall|gets?|receives?|earns?|` +
    String.raw`deserves?|is|has|would|should|be|rated|scored|graded|given|at|of|an?|the)\b)*$`,
  "u",
);
/** Before the name that something is compared with: "better than B: [[9]]" rates another. */
const comparison = /\b(?:than|as|like|unlike|with|against|over|versus|vs)[ \t*_]+$/i;
const beforeLabel = new RegExp(
  String.raw`^[\W\d_]*(?:(?:and|but|while)[ \t]+)?(?:${ratingWord}[ \t]+(?:for|of)[ \t]+)?$`,
  "i",
);
const afterLabel = new RegExp(String.raw`^(?:['’]s)?[ \t*_)]*(?:${ratingWord})?[ \t*_]*[:=|–-]`, "i");
/** From a rating to its name: "[[4]] for A", "[[4]] (Assistant A)". */
const backConnection = /^[ \t*_]*(\(|(?:for|to)\b)[ \t*_]*(?:the[ \t]+)?/;
const beforeHeading = new RegExp(
  String.raw`^[\W\d_]*(?:(?:review|evaluation|assessment|${ratingWord})[ \t]+(?:for|of)[ \t]+)?$`,
  "i",
);

const mentionsIn = (text: string): readonly Mention[] =>
  [...text.matchAll(mention)].map((match) => {
    const name = match[1] ?? match[2] ?? match[3] ?? "";
    const answer = ["A", "a", "1"].includes(name) ? 0 : 1;
    return { answer, start: match.index, end: match.index + match[0].length };
  });

/** Whether a text speaks of one of the answers, or of both. */
export const namesAnswers = (text: string): boolean => mentionsIn(text).length > 0 || vague.test(text);

const allOfOne = (mentions: readonly Mention[]): boolean =>
  mentions.every(({ answer }) => answer === mentions[0]?.answer);

/** The name that its clause ties to the rating at the text's end, and no other name with it. */
const tiedBefore = (text: string): RatedAnswer => {
  const clause = text.split(/[.!?;,]/).at(-1) ?? "";
  const mentions = mentionsIn(clause);
  const last = mentions.at(-1);
  if (last === undefined || !allOfOne(mentions)) return undefined;
  const isTied = !comparison.test(clause.slice(0, last.start)) && connection.test(clause.slice(last.end));
  return isTied ? last.answer : undefined;
};

/** The name that labels the line: "Assistant A: short, but right. [[8]]". */
const labelOf = (text: string): RatedAnswer => {
  const mentions = mentionsIn(text);
  const [first] = mentions;
  if (first === undefined || !allOfOne(mentions)) return undefined;
  const isLabel = beforeLabel.test(text.slice(0, first.start)) && afterLabel.test(text.slice(first.end));
  return isLabel ? first.answer : undefined;
};

const tiedAfter = (text: string): Mention | undefined => {
  const tie = backConnection.exec(text);
  const [first] = mentionsIn(text);
  if (tie === null || first?.start !== tie[0].length) return undefined;
  return tie[1] === "(" && !/^[ \t*_]*\)/.test(text.slice(first.end)) ? undefined : first;
};

/** Which answer a rating is for, by what stands around it on its own line, up to the ratings beside it. */
const nameOf = (before: string, after: string): RatedAnswer => {
  const own = tiedBefore(before) ?? labelOf(before);
  const later = tiedAfter(after)?.answer;
  if (own !== undefined && later !== undefined) return own === later ? own : "unclear";
  const named = own ?? later;
  if (named !== undefined) return named;
  return namesAnswers(`${before} ${after}`) ? "unclear" : undefined;
};

/** The answer whose part of the reply begins with this line, such as `### Assistant A`; undefined for any other line. */
const headingOf = (line: string): RatedAnswer => {
  const [only, ...more] = mentionsIn(line);
  if (only === undefined || more.length > 0) return undefined;
  const isHeading = beforeHeading.test(line.slice(0, only.start)) && connection.test(line.slice(only.end).trimEnd());
  return isHeading ? only.answer : undefined;
};

/** Where a rating stands in its line: from a name that its form includes, or its brackets, to its end. */
interface FoundRating {
  readonly start: number;
  readonly numberAt: number;
  readonly end: number;
}

/**
 * Which answers the ratings of a reply are for. A name counts on the rating's own line only, where it is tied to it;
 * a line without names belongs to the heading above, if there is one that is nothing but a name.
 */
export const rateAnswers = <Found extends FoundRating>(
  reply: string,
  ratingsIn: (line: string) => readonly Found[],
): readonly (Found & { readonly answer: RatedAnswer })[] => {
  let heading: RatedAnswer;
  return reply.split("\n").flatMap((line) => {
    const found = ratingsIn(line);
    if (found.length === 0) heading = headingOf(line) ?? heading;
    let readTo = 0;
    return found.map((rating, index) => {
      const before = line.slice(readTo, rating.numberAt);
      const after = line.slice(rating.end, found[index + 1]?.start);
      readTo = rating.end + (tiedAfter(after)?.end ?? 0);
      return { ...rating, answer: nameOf(before, after) ?? heading };
    });
  });
};
