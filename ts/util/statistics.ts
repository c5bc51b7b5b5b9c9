/** The middle value, or the mean of the two middle ones; NaN of nothing. */
export const median = (values: readonly number[]): number => {
  const sorted = values.toSorted((left, right) => left - right);
  const middle = sorted.length / 2;
  const upper = sorted.at(Math.floor(middle)) ?? Number.NaN;
  if (sorted.length === 0 || sorted.length % 2 === 1) return upper;
  return ((sorted.at(middle - 1) ?? Number.NaN) + upper) / 2;
};

/**
 * Wilson's score interval of a share, within [0, 1]; [0, 1] of nothing.
 * `z`: the normal quantile, 1.96 for 95 %. Source: E. B. Wilson, JASA 22 (1927).
 */
export const wilsonInterval = (correct: number, total: number, z = 1.959963984540054): readonly [number, number] => {
  if (total === 0) return [0, 1];
  const share = correct / total;
  const denominator = 1 + z ** 2 / total;
  const centre = (share + z ** 2 / (2 * total)) / denominator;
  const half = (z / denominator) * Math.sqrt((share * (1 - share)) / total + z ** 2 / (4 * total ** 2));
  return [Math.max(0, centre - half), Math.min(1, centre + half)];
};
