import { groupedBy } from "../../util/grouped.js";
import { meanInterval } from "../../util/statistics.js";
import type { FailureReason } from "./chat-answer.js";
import { type JudgementPlace, pairsOf, placeKey } from "./plan.js";
import { readCutOffRatings, readRatings, type ReadingProblem } from "./read-ratings.js";
import type { FailedJudgement, Review } from "./review-file.js";

/** Why a judgement has no ratings. */
export type MissingReason = FailureReason | ReadingProblem | "cut-off";

/** Ratings of answers from 1 to 10. A score is an answer's mean over its judgements; a mean is that of the scores. */
export interface RatingFigures {
  /** Null where no answer has a score. */
  readonly mean: number | null;
  /** Answers (a question's turn) with a score, and without. */
  readonly scored: number;
  readonly unscored: number;
  /** Judgements without a rating; none of them counts as a 0. */
  readonly missing: number;
}

/** Two methods' ratings; only rounds count in which both orders were read. */
export interface PairFigures {
  /** By method. */
  readonly means: Readonly<Record<string, number | null>>;
  /** Answers for which the method has the higher score. */
  readonly wins: Readonly<Record<string, number>>;
  readonly ties: number;
  readonly scored: number;
  readonly unscored: number;
  /** Judgements without ratings. */
  readonly missing: number;
  /** Judgements that were read, but whose other order is missing; they do not count. */
  readonly unpaired: number;
}

/** Figures in all, by turn (from 1) and by category. */
export interface Breakdown<Figures> {
  readonly overall: Figures;
  readonly turns: Readonly<Record<string, Figures>>;
  readonly categories: Readonly<Record<string, Figures>>;
}

export interface MethodRatings extends Breakdown<RatingFigures> {
  readonly label: string;
  /** 95 % interval of the mean over the questions, whose turns are not independent; null of fewer than four. */
  readonly interval: readonly [number, number] | null;
}

export interface PairRatings extends Breakdown<PairFigures> {
  readonly methods: readonly [string, string];
  /** Mean rating of the answer that stands first and of the one that stands second, whichever method's it is. */
  readonly positions: { readonly first: number | null; readonly second: number | null };
}

export interface JudgingSummary {
  /** Mode `single`. */
  readonly methods?: readonly MethodRatings[] | undefined;
  /** Mode `pairwise`. */
  readonly pairs?: readonly PairRatings[] | undefined;
  /** Judgements without a rating, and why, counted by reason. */
  readonly missing: {
    /** How many. */
    readonly judgements: number;
    /** How many for each reason. */
    readonly reasons: Readonly<Partial<Record<MissingReason, number>>>;
  };
}

interface Entry extends JudgementPlace {
  readonly ratings: readonly number[] | undefined;
  readonly reason: MissingReason | undefined;
}

const mean = (values: readonly number[]): number | null =>
  values.length === 0 ? null : values.reduce((total, value) => total + value, 0) / values.length;

/** The ratings of a review, read anew: a better reader needs no new review. */
const readReview = ({ reply, finish, shown }: Review): Pick<Entry, "ratings" | "reason"> => {
  const cutOff = finish === "length";
  const reading = (cutOff ? readCutOffRatings : readRatings)(reply, shown.length === 1 ? 1 : 2);
  if ("ratings" in reading) return { ratings: reading.ratings, reason: undefined };
  return { ratings: undefined, reason: cutOff ? "cut-off" : reading.problem };
};

const breakdown = <Figures>(
  entries: readonly Entry[],
  figuresOf: (entries: readonly Entry[]) => Figures,
): Breakdown<Figures> => {
  const by = (keyOf: (entry: Entry) => string): Readonly<Record<string, Figures>> =>
    Object.fromEntries([...groupedBy(entries, keyOf)].map(([key, group]) => [key, figuresOf(group)]));
  return {
    overall: figuresOf(entries),
    turns: by(({ turn }) => String(turn)),
    categories: by(({ category }) => category),
  };
};

const answerKey = ({ question, turn }: Entry): string => `${question} ${turn}`;

const ratingFigures = (entries: readonly Entry[]): RatingFigures => {
  const answers = [...groupedBy(entries, answerKey).values()];
  const scores = answers.flatMap((judgements) => {
    const score = mean(judgements.flatMap(({ ratings = [] }) => ratings));
    return score === null ? [] : [score];
  });
  return {
    mean: mean(scores),
    scored: scores.length,
    unscored: answers.length - scores.length,
    missing: entries.filter(({ ratings }) => ratings === undefined).length,
  };
};

/** The interval of the mean of the questions' mean scores. */
const questionInterval = (entries: readonly Entry[]): MethodRatings["interval"] => {
  const questions = [...groupedBy(entries, ({ question }) => question).values()];
  return meanInterval(questions.flatMap((own) => ratingFigures(own).mean ?? []));
};

const ratingsOf = (label: string, entries: readonly Entry[]): readonly number[] =>
  entries.flatMap(({ shown, ratings = [] }) => ratings.filter((_, position) => shown[position] === label));

const pairFigures =
  ([first, second]: readonly [string, string]) =>
  (entries: readonly Entry[]): PairFigures => {
    const isRead = ({ ratings }: Entry): boolean => ratings !== undefined;
    const rounds = [...groupedBy(entries, (entry) => `${answerKey(entry)} ${entry.round}`).values()];
    const whole = new Set(rounds.filter((orders) => orders.length === 2 && orders.every(isRead)).flat());
    const answers = [...groupedBy(entries, answerKey).values()];
    const scores = answers.flatMap((judgements) => {
      const counted = judgements.filter((entry) => whole.has(entry));
      const [own, other] = [mean(ratingsOf(first, counted)), mean(ratingsOf(second, counted))];
      return own === null || other === null ? [] : [{ own, other }];
    });
    const read = entries.filter(isRead).length;
    return {
      means: { [first]: mean(scores.map(({ own }) => own)), [second]: mean(scores.map(({ other }) => other)) },
      wins: {
        [first]: scores.filter(({ own, other }) => own > other).length,
        [second]: scores.filter(({ own, other }) => own < other).length,
      },
      ties: scores.filter(({ own, other }) => own === other).length,
      scored: scores.length,
      unscored: answers.length - scores.length,
      missing: entries.length - read,
      unpaired: read - whole.size,
    };
  };

const pairRatings = (methods: readonly [string, string], all: readonly Entry[]): PairRatings => {
  const entries = all.filter(({ shown }) => methods.every((label) => shown.includes(label)));
  const at = (position: number): number | null =>
    mean(entries.flatMap(({ ratings = [] }) => ratings.slice(position, position + 1)));
  return {
    methods,
    ...breakdown(entries, pairFigures(methods)),
    positions: { first: at(0), second: at(1) },
  };
};

const missingOf = (entries: readonly Entry[]): JudgingSummary["missing"] => {
  const missing = entries.filter(({ ratings }) => ratings === undefined);
  const reasons = groupedBy(missing, ({ reason }) => reason ?? "");
  return {
    judgements: missing.length,
    reasons: Object.fromEntries([...reasons].map(([reason, group]) => [reason, group.length])),
  };
};

/** The figures of the planned judgements; those without a review or a rating are missing. */
export const summarizeJudging = (options: {
  readonly mode: "single" | "pairwise";
  readonly labels: readonly string[];
  readonly planned: readonly JudgementPlace[];
  readonly reviews: ReadonlyMap<string, Review>;
  readonly failures: ReadonlyMap<string, FailedJudgement>;
}): JudgingSummary => {
  const { mode, labels, planned, reviews, failures } = options;
  const entries = planned.map(({ shown, question, category, turn, round }): Entry => {
    const place = { shown, question, category, turn, round };
    const review = reviews.get(placeKey(place));
    if (review !== undefined) return { ...place, ...readReview(review) };
    return { ...place, ratings: undefined, reason: failures.get(placeKey(place))?.failure.reason };
  });
  const missing = missingOf(entries);
  if (mode === "pairwise") return { pairs: pairsOf(labels).map((pair) => pairRatings(pair, entries)), missing };
  return {
    methods: labels.map((label) => {
      const own = entries.filter(({ shown }) => shown[0] === label);
      return { label, interval: questionInterval(own), ...breakdown(own, ratingFigures) };
    }),
    missing,
  };
};
