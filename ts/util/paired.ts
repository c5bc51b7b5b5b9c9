import { wilsonInterval } from "./statistics.js";

/** Two ways of answering the same questions, counted by who was right. */
export interface PairedCounts {
  /** Questions that both answered right. */
  readonly both: number;
  /** Those that the first alone answered right. */
  readonly onlyFirst: number;
  /** Those that the second alone answered right. */
  readonly onlySecond: number;
  /** Those that none answered right. */
  readonly neither: number;
}

/** `midP`: twice the one-sided mid-p; less conservative than the exact `p`, which never errs more often than it says. */
export interface PairedTest {
  /** The exact two-sided p-value. */
  readonly p: number;
  /** The mid-p value, less conservative. */
  readonly midP: number;
}

/** Probabilities of 0 to `tosses` heads of a fair coin, from the middle outwards, so that no factor overflows. */
const headsDistribution = (tosses: number): readonly number[] => {
  const middle = Math.floor(tosses / 2);
  let logMiddle = -tosses * Math.LN2;
  for (let factor = 1; factor <= middle; factor += 1) logMiddle += Math.log((tosses - middle + factor) / factor);
  const lower: number[] = [];
  let probability = Math.exp(logMiddle);
  for (let heads = middle; heads >= 0; heads -= 1) {
    lower.push(probability);
    probability *= heads / (tosses - heads + 1);
  }
  lower.reverse();
  const upper = lower.slice(0, tosses - middle).toReversed();
  return [...lower, ...upper];
};

/** The distribution of a sum to which `count` coins of `size` each are added; index = the sum. */
const withCoins = (sums: readonly number[], size: number, count: number): readonly number[] => {
  const heads = headsDistribution(count);
  const result = Array.from({ length: sums.length + size * count }, () => 0);
  sums.forEach((probability, sum) => {
    heads.forEach((share, number) => {
      const index = sum + size * number;
      result[index] = (result[index] ?? 0) + probability * share;
    });
  });
  return result;
};

/**
 * The exact two-sided sign-flip test: how often a total as far from 0 comes about where each difference has either sign
 * with equal chance. `differences`: whole numbers, one a question; with −1, 0 and 1 it is McNemar's exact test.
 */
export const signFlipTest = (differences: readonly number[]): PairedTest => {
  const sizes = differences.map(Math.abs).filter((size) => size > 0);
  const total = Math.abs(differences.reduce((sum, difference) => sum + difference, 0));
  if (total === 0) return { p: 1, midP: 1 };
  let sums: readonly number[] = [1];
  for (const size of new Set(sizes)) sums = withCoins(sums, size, sizes.filter((other) => other === size).length);
  const largest = sizes.reduce((sum, size) => sum + size, 0);
  // Differences of one sign add up to (largest − total) / 2 where the total is the one seen.
  const seen = (largest - total) / 2;
  const tail = sums.slice(0, seen + 1).reduce((sum, probability) => sum + probability, 0);
  return { p: Math.min(1, 2 * tail), midP: Math.min(1, 2 * tail - (sums[seen] ?? 0)) };
};

/**
 * McNemar's exact test: two-sided binomial on the questions that only one side got right.
 * Source: Q. McNemar, Psychometrika 12 (1947); mid-p: Fagerland, Lydersen and Laake, BMC Med. Res. Methodol. 13 (2013).
 */
export const mcNemarTest = ({ onlyFirst, onlySecond }: Pick<PairedCounts, "onlyFirst" | "onlySecond">): PairedTest =>
  signFlipTest([...Array.from({ length: onlyFirst }, () => -1), ...Array.from({ length: onlySecond }, () => 1)]);

/** Correlation of the two sides' answers, its numerator corrected for continuity; 0 where one side has one outcome. */
const correlation = ({ both, onlyFirst, onlySecond, neither }: PairedCounts): number => {
  const [first, second] = [both + onlyFirst, both + onlySecond];
  const product = first * (onlySecond + neither) * second * (onlyFirst + neither);
  if (product === 0) return 0;
  const raw = both * neither - onlyFirst * onlySecond;
  const half = (both + onlyFirst + onlySecond + neither) / 2;
  return (raw > 0 ? Math.max(0, raw - half) : raw) / Math.sqrt(product);
};

/**
 * 95 % interval of the second side's accuracy minus the first's on the same questions; [−1, 1] of nothing.
 * Source: R. G. Newcombe, Statistics in Medicine 17 (1998) 2635–2650, method 10 (Wilson's limits, correlated).
 */
export const pairedInterval = (counts: PairedCounts): readonly [number, number] => {
  const { both, onlyFirst, onlySecond, neither } = counts;
  const total = both + onlyFirst + onlySecond + neither;
  if (total === 0) return [-1, 1];
  const [first, second] = [(both + onlyFirst) / total, (both + onlySecond) / total];
  const [firstLow, firstHigh] = wilsonInterval(both + onlyFirst, total);
  const [secondLow, secondHigh] = wilsonInterval(both + onlySecond, total);
  const phi = correlation(counts);
  const distance = (one: number, other: number): number =>
    Math.sqrt(Math.max(0, one ** 2 - 2 * phi * one * other + other ** 2));
  const difference = second - first;
  return [
    difference - distance(second - secondLow, firstHigh - first),
    difference + distance(first - firstLow, secondHigh - second),
  ];
};

/**
 * p-values that allow for how many there are: each one below a level is a finding at that level for all of them
 * together. Source: S. Holm, Scandinavian Journal of Statistics 6 (1979).
 */
export const holmAdjusted = (values: readonly number[]): readonly number[] => {
  const ranked = values.map((value, index) => ({ value, index })).toSorted((left, right) => left.value - right.value);
  const adjusted = [...values];
  let highest = 0;
  ranked.forEach(({ value, index }, rank) => {
    highest = Math.max(highest, Math.min(1, value * (ranked.length - rank)));
    adjusted[index] = highest;
  });
  return adjusted;
};
