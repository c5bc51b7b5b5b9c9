import { chooseBySum, chooseNormalized } from "../../../ts/evaluate/choose.js";
import type { LikelihoodRecord, TextRecord } from "./records.js";

/** Nats by which the log-likelihoods of a choice may differ and still count as the same. */
export const tolerance = 1e-4;

/** The choices that both ways of choosing take, by place. */
export interface Chosen {
  readonly bySum: number;
  readonly byLength: number;
}

const choose = (values: readonly number[], choices: readonly string[]): Chosen => {
  const scores = values.map((logLikelihood) => ({ logLikelihood, tokens: 0 }));
  return { bySum: chooseBySum(scores), byLength: chooseNormalized(scores, choices) };
};

export const chosenBy = (record: LikelihoodRecord, side: "ours" | "harness"): Chosen =>
  choose(record[side], record.choices);

/** The largest difference, in nats, between the two sides' log-likelihoods of a row's choices. */
export const largestDifference = ({ ours, harness }: Pick<LikelihoodRecord, "ours" | "harness">): number =>
  Math.max(...ours.map((value, place) => Math.abs(value - (harness[place] ?? Number.NaN))));

const sameChoice = (record: LikelihoodRecord, by: keyof Chosen): boolean =>
  chosenBy(record, "ours")[by] === chosenBy(record, "harness")[by];

export interface LikelihoodFigures {
  readonly rows: number;
  readonly sameBySum: number;
  readonly sameByLength: number;
  readonly largest: number;
  readonly above: number;
  /** Choices that the harness tokenises otherwise than milora does. */
  readonly otherTokens: number;
}

export const likelihoodFigures = (records: readonly LikelihoodRecord[]): LikelihoodFigures => ({
  rows: records.length,
  sameBySum: records.filter((record) => sameChoice(record, "bySum")).length,
  sameByLength: records.filter((record) => sameChoice(record, "byLength")).length,
  largest: Math.max(0, ...records.map(largestDifference)),
  above: records.filter((record) => !(largestDifference(record) <= tolerance)).length,
  otherTokens: records.flatMap(({ sameTokens }) => sameTokens).filter((same) => !same).length,
});

/** Rows that differ in a choice or by more than the tolerance. */
export const differingRows = (records: readonly LikelihoodRecord[]): readonly LikelihoodRecord[] =>
  records.filter(
    (record) =>
      !(largestDifference(record) <= tolerance) || !sameChoice(record, "bySum") || !sameChoice(record, "byLength"),
  );

/** A text up to the first of the harness' stop strings, as the harness cuts it. */
export const upToStop = (text: string, stops: readonly string[]): string => {
  const ends = stops.map((stop) => text.indexOf(stop)).filter((at) => at >= 0);
  return ends.length === 0 ? text : text.slice(0, Math.min(...ends));
};

export const isSameText = ({ ours, harness }: TextRecord, stops: readonly string[]): boolean =>
  upToStop(ours, stops) === harness;
