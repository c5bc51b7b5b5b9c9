/** A place in an output where one of a task's answers is named. */
export interface Mention {
  readonly answer: string;
  readonly start: number;
  readonly end: number;
}

/** Where a model went on to write the next example of its template, which is no part of its answer. */
const runOn = /\n[^\S\n]*(?:###(?!#)|Question:|Request:|Instruction:|Q:)/;

/** The output without a next example that the model made up. */
export const withoutRunOn = (output: string): string => output.slice(0, runOn.exec(output)?.index ?? output.length);

const negation =
  /(?:\bnot|\bnever|n['’]t|\bneither|\bnor|\brather than|\binstead of|\bexcept)(?: be)?(?: (?:the|an?|answer|option|choice))*[\s"'“(*]*$/i;

/** True where the words before `start` deny what follows: `not answer1`, `rather than B`. */
export const isNegated = (text: string, start: number): boolean =>
  negation.test(text.slice(Math.max(0, start - 40), start));

/** Words that announce an answer: `the answer is`, `Answer:`, `Answer B`, `The correct option is`, `####`. */
const cue = new RegExp(
  [
    String.raw`(?:\b(?:answer|choice|option|solution|result|conclusion)`,
    String.raw`(?:\s+(?:here|to\s+the\s+question|should|must|would|will))*\s*(?:is|be|are|:|=|-|–)+`,
    String.raw`|\banswer\s|####)`,
    String.raw`[\s:*"'“(]*(?:(?:therefore|thus|option|choice|letter)\s+)?[\s:*"'“(]*$`,
  ].join(""),
  "i",
);

/** True where the words before `start` announce an answer. */
export const isStated = (text: string, start: number): boolean => cue.test(text.slice(Math.max(0, start - 80), start));

const onlyAnswer = (mentions: readonly Mention[]): string | null => {
  const answers = new Set(mentions.map((mention) => mention.answer));
  return answers.size === 1 ? (mentions.at(0)?.answer ?? null) : null;
};

/** True for a mention that opens the output: `B. Because …`, `answer2`. */
const opens = (text: string, mention: Mention): boolean => /^[\s"'“(*[]*$/.test(text.slice(0, mention.start));

/**
 * The answer an output states: the last announced one; else the one it opens with; else the only one it names.
 * Denied mentions do not count. Null where several are named and none is announced.
 */
export const pickMention = (text: string, mentions: readonly Mention[]): string | null => {
  const affirmed = mentions.filter((mention) => !isNegated(text, mention.start));
  const stated = affirmed.findLast((mention) => isStated(text, mention.start));
  if (stated !== undefined) return stated.answer;
  const first = affirmed.at(0);
  if (first !== undefined && opens(text, first)) return first.answer;
  return onlyAnswer(affirmed);
};
