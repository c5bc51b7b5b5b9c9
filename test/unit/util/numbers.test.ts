import { describe, expect, test } from "vitest";
import { formatDuration } from "../../../ts/util/duration.js";
import { meanInterval, median, wilsonInterval } from "../../../ts/util/statistics.js";
import { chunks, countCharacters, counted, escapeRegExp, shown } from "../../../ts/util/text.js";

test.each([
  [0.44, "0.4 s"],
  [9.94, "9.9 s"],
  [9.96, "10 s"],
  [59.6, "1 min 00 s"],
  [96, "1 min 36 s"],
  [7500, "2 h 05 min"],
  [7199, "2 h 00 min"],
  [Number.NaN, "?"],
  [Infinity, "?"],
])("%s seconds are %s", (seconds, expected) => {
  expect(formatDuration(seconds)).toBe(expected);
});

test("median of odd, even and no values", () => {
  expect(median([5, 1, 3])).toBe(3);
  expect(median([4, 1, 3, 2])).toBe(2.5);
  expect(median([10, 9])).toBe(9.5);
  expect(median([])).toBeNaN();
});

test.each([
  [4, 3.182],
  [10, 2.262],
  [80, 1.99],
])("the interval of %i values' mean has Student's tabled t, %d, within 1 %%", (count, t) => {
  // Half of them 1 above their mean, half 1 below.
  const values = Array.from({ length: count }, (_, index) => (index % 2 === 0 ? 4 : 6));
  const [low = 0, high = 0] = meanInterval(values) ?? [];
  expect(low + high).toBeCloseTo(10, 10);
  expect((high - 5) * Math.sqrt(count - 1)).toBeGreaterThan(0.99 * t);
  expect((high - 5) * Math.sqrt(count - 1)).toBeLessThan(1.01 * t);
});

test("three values have no interval", () => {
  expect(meanInterval([1, 2, 3])).toBeNull();
});

describe("wilsonInterval", () => {
  test("agrees with the formula's quadratic: |p − share| = z √(p (1 − p) / n) at both ends", () => {
    for (const [correct, total] of [
      [1, 10],
      [50, 100],
      [417, 600],
    ] as const) {
      for (const end of wilsonInterval(correct, total)) {
        const distance = Math.abs(end - correct / total);
        expect(distance).toBeCloseTo(1.959963984540054 * Math.sqrt((end * (1 - end)) / total), 12);
      }
    }
  });

  test("stays within 0 and 1", () => {
    expect(wilsonInterval(0, 20)[0]).toBe(0);
    expect(wilsonInterval(20, 20)[1]).toBe(1);
    expect(wilsonInterval(20, 20)[0]).toBeGreaterThan(0.8);
    expect(wilsonInterval(0, 0)).toEqual([0, 1]);
  });
});

test("text helpers", () => {
  expect(shown({ a: "x".repeat(100) }, 10)).toBe('{"a":"xxx…');
  expect(shown(undefined)).toBe("nothing");
  expect(countCharacters("aé👍")).toBe(3);
  expect(chunks([1, 2, 3, 4, 5], 2)).toEqual([[1, 2], [3, 4], [5]]);
  expect([counted(1, "row"), counted(2, "row")]).toEqual(["1 row", "2 rows"]);
  expect(new RegExp(escapeRegExp("a.b*(c)[d]/-^$|+?{}\\")).test("a.b*(c)[d]/-^$|+?{}\\")).toBe(true);
});
