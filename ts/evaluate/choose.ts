import { countCharacters } from "../util/text.js";

/** Log-likelihood in nats of a continuation, and its tokens. */
export interface ChoiceScore {
  readonly logLikelihood: number;
  readonly tokens: number;
}

/** Index of the highest value, the first of equals; NaN never wins. −1 of nothing. */
const indexOfHighest = (values: readonly number[]): number => {
  let best = -1;
  values.forEach((value, index) => {
    if (Number.isNaN(value)) return;
    const highest = best < 0 ? undefined : values[best];
    if (highest === undefined || value > highest) best = index;
  });
  return best;
};

/** The likeliest choice, by the sum over its tokens. */
export const chooseBySum = (scores: readonly ChoiceScore[]): number =>
  indexOfHighest(scores.map((score) => score.logLikelihood));

/**
 * The likeliest choice by character: the sum divided by the number of characters (code points) of the choice without
 * its leading space, as lm-evaluation-harness's acc_norm does.
 */
export const chooseNormalized = (scores: readonly ChoiceScore[], choices: readonly string[]): number =>
  indexOfHighest(
    scores.map(({ logLikelihood }, index) => {
      const characters = countCharacters((choices[index] ?? "").trimStart());
      return logLikelihood / Math.max(1, characters);
    }),
  );
