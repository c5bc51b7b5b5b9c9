/** The middle value, or the mean of the two middle ones; NaN of nothing. */
export const median = (values: readonly number[]): number => {
  const sorted = values.toSorted((left, right) => left - right);
  const middle = sorted.length / 2;
  const upper = sorted.at(Math.floor(middle)) ?? Number.NaN;
  if (sorted.length === 0 || sorted.length % 2 === 1) return upper;
  return ((sorted.at(middle - 1) ?? Number.NaN) + upper) / 2;
};

/** The normal quantile of a two-sided 95 %. */
const normal95 = 1.959963984540054;

/** Student's t of a two-sided 95 %, by its expansion in 1 / degrees of freedom (within 1 % from 3 on). */
const student95 = (freedom: number): number => {
  const z = normal95;
  return (
    z +
    (z ** 3 + z) / (4 * freedom) +
    (5 * z ** 5 + 16 * z ** 3 + 3 * z) / (96 * freedom ** 2) +
    (3 * z ** 7 + 19 * z ** 5 + 17 * z ** 3 - 15 * z) / (384 * freedom ** 3)
  );
};

/** Student's 95 % interval of the mean of four values or more; null of fewer, which say too little of their spread. */
export const meanInterval = (values: readonly number[]): readonly [number, number] | null => {
  const count = values.length;
  if (count < 4) return null;
  const mean = values.reduce((sum, value) => sum + value, 0) / count;
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (count - 1);
  const half = student95(count - 1) * Math.sqrt(variance / count);
  return [mean - half, mean + half];
};

/**
 * Wilson's score interval of a share, within [0, 1]; [0, 1] of nothing.
 * `z`: the normal quantile, 1.96 for 95 %. Source: E. B. Wilson, JASA 22 (1927).
 */
export const wilsonInterval = (correct: number, total: number, z = normal95): readonly [number, number] => {
  if (total === 0) return [0, 1];
  const share = correct / total;
  const denominator = 1 + z ** 2 / total;
  const centre = (share + z ** 2 / (2 * total)) / denominator;
  const half = (z / denominator) * Math.sqrt((share * (1 - share)) / total + z ** 2 / (4 * total ** 2));
  return [Math.max(0, centre - half), Math.min(1, centre + half)];
};
