import { describe, expect, test } from "vitest";
import { holmAdjusted, mcNemarTest, pairedInterval, signFlipTest } from "../../../ts/util/paired.js";
import { cpuTimer } from "../../support/timing.js";

const choose = (from: bigint, of: bigint): bigint => {
  let result = 1n;
  for (let factor = 1n; factor <= of; factor += 1n) result = (result * (from - of + factor)) / factor;
  return result;
};

/** A ratio of whole numbers of any size, to 15 digits. */
const ratio = (numerator: bigint, denominator: bigint): number =>
  Number((numerator * 10n ** 18n) / denominator) / 10 ** 18;

/** McNemar's exact test in whole numbers: twice the smaller tail of a binomial with share ½. */
const reference = (onlyFirst: number, onlySecond: number) => {
  const tosses = BigInt(onlyFirst + onlySecond);
  const smaller = BigInt(Math.min(onlyFirst, onlySecond));
  let tail = 0n;
  for (let heads = 0n; heads <= smaller; heads += 1n) tail += choose(tosses, heads);
  const all = 2n ** tosses;
  const seen = choose(tosses, smaller);
  const tie = onlyFirst === onlySecond;
  return { p: tie ? 1 : ratio(2n * tail, all), midP: tie ? 1 : ratio(2n * tail - seen, all) };
};

describe("McNemar's exact test", () => {
  test.each([
    [0, 0],
    [1, 0],
    [0, 5],
    [2, 12],
    [12, 2],
    [7, 7],
    [30, 41],
    [211, 260],
    [640, 560],
  ])("%s against %s agrees with whole numbers", (onlyFirst, onlySecond) => {
    const { p, midP } = mcNemarTest({ onlyFirst, onlySecond });
    const exact = reference(onlyFirst, onlySecond);
    expect(p).toBeCloseTo(exact.p, 12);
    expect(midP).toBeCloseTo(exact.midP, 12);
  });

  test("large counts neither vanish nor take long", () => {
    const spent = cpuTimer();
    const { p, midP } = mcNemarTest({ onlyFirst: 6000, onlySecond: 6300 });
    // scipy 1.x: binomtest(6000, 12300).pvalue.
    expect(p / 0.0070155184820324444).toBeCloseTo(1, 9);
    expect(midP).toBeLessThan(p);
    expect(spent()).toBeLessThan(1000);
  });
});

/** Every way of giving the differences signs, counted. */
const bySigns = (differences: readonly number[]) => {
  let sums: readonly number[] = [0];
  for (const difference of differences) sums = sums.flatMap((sum) => [sum + difference, sum - difference]);
  const seen = Math.abs(differences.reduce((sum, difference) => sum + difference, 0));
  const as = sums.filter((sum) => Math.abs(sum) === seen).length;
  const beyond = sums.filter((sum) => Math.abs(sum) > seen).length;
  return { p: (as + beyond) / sums.length, midP: (as / 2 + beyond) / sums.length };
};

describe("the sign-flip test", () => {
  test.each([
    [[3, 3, -1, 2, 1, -2, 0, 1]],
    [[1, 1, 1, -1, 2, 2]],
    [[-3, -3, -2, 1, -1, -1, -3, 2, -2]],
    [[0, 0, 0]],
    [[2, -2, 1, -1]],
  ])("%j agrees with every way of signing", (differences) => {
    const { p, midP } = signFlipTest(differences);
    const counted = bySigns(differences);
    expect(p).toBeCloseTo(counted.p, 12);
    if (differences.reduce((sum, difference) => sum + difference, 0) !== 0) expect(midP).toBeCloseTo(counted.midP, 12);
    else expect(midP).toBe(1);
  });

  test("one seed is McNemar; the same questions again are no new evidence", () => {
    const once = [...Array.from({ length: 12 }, () => 1), ...Array.from({ length: 4 }, () => -1)];
    expect(signFlipTest(once)).toEqual(mcNemarTest({ onlyFirst: 4, onlySecond: 12 }));
    const thrice = signFlipTest(once.map((difference) => 3 * difference));
    expect(thrice.p).toBeCloseTo(signFlipTest(once).p, 12);
    expect(mcNemarTest({ onlyFirst: 12, onlySecond: 36 }).p).toBeLessThan(thrice.p / 10);
  });
});

describe("the interval of a paired difference", () => {
  test("gives the paper's own figures", () => {
    // Newcombe 1998, method 10: 36, 12, 2, 0 → 0.0569 to 0.3404.
    const [low, high] = pairedInterval({ both: 36, onlyFirst: 2, onlySecond: 12, neither: 0 });
    expect([low.toFixed(4), high.toFixed(4)]).toEqual(["0.0569", "0.3404"]);
  });

  test("changes its sign with the sides, holds the difference, stays within −1 and 1", () => {
    for (const [both, onlyFirst, onlySecond, neither] of [
      [10, 3, 8, 29],
      [0, 50, 0, 0],
      [0, 0, 50, 0],
      [25, 0, 0, 25],
      [1, 0, 0, 0],
    ] as const) {
      const counts = { both, onlyFirst, onlySecond, neither };
      const [low, high] = pairedInterval(counts);
      const [otherLow, otherHigh] = pairedInterval({ ...counts, onlyFirst: onlySecond, onlySecond: onlyFirst });
      expect(low).toBeCloseTo(-otherHigh, 12);
      expect(high).toBeCloseTo(-otherLow, 12);
      const difference = (onlySecond - onlyFirst) / (both + onlyFirst + onlySecond + neither);
      expect(low).toBeLessThanOrEqual(difference);
      expect(high).toBeGreaterThanOrEqual(difference);
      expect(low).toBeGreaterThanOrEqual(-1);
      expect(high).toBeLessThanOrEqual(1);
    }
    expect(pairedInterval({ both: 0, onlyFirst: 0, onlySecond: 0, neither: 0 })).toEqual([-1, 1]);
  });

  test("covers the true difference as often as it says, over every outcome of 12 questions", () => {
    const [both, onlyFirst, onlySecond, neither] = [0.5, 0.1, 0.2, 0.2];
    const total = 12;
    const factorial = (of: number): number => (of < 2 ? 1 : of * factorial(of - 1));
    let covered = 0;
    for (let first = 0; first <= total; first += 1)
      for (let second = 0; second <= total - first; second += 1)
        for (let together = 0; together <= total - first - second; together += 1) {
          const none = total - first - second - together;
          const ways =
            factorial(total) / (factorial(first) * factorial(second) * factorial(together) * factorial(none));
          const probability = ways * onlyFirst ** first * onlySecond ** second * both ** together * neither ** none;
          const [low, high] = pairedInterval({ both: together, onlyFirst: first, onlySecond: second, neither: none });
          if (low <= onlySecond - onlyFirst && onlySecond - onlyFirst <= high) covered += probability;
        }
    expect(covered).toBeGreaterThan(0.94);
    expect(covered).toBeLessThan(0.99);
  });
});

test("Holm's p-values: the smallest times all, never falling, never above 1", () => {
  const adjusted = holmAdjusted([0.01, 0.04, 0.03, 0.005]);
  [0.03, 0.06, 0.06, 0.02].forEach((value, index) => expect(adjusted[index]).toBeCloseTo(value, 12));
  expect(holmAdjusted([0.9, 0.8])).toEqual([1, 1]);
  expect(holmAdjusted([])).toEqual([]);
});
