import { describe, expect, test } from "vitest";
import { hashText, mixSeed, randomInteger, randomItem, seededRandom, shuffled } from "../../../ts/util/random.js";

const take = (seed: number, count: number): number[] => {
  const random = seededRandom(seed);
  return Array.from({ length: count }, random);
};

describe("seededRandom", () => {
  test("repeats for a seed and differs between seeds, also in the high bits", () => {
    expect(take(7, 20)).toEqual(take(7, 20));
    expect(take(7, 20)).not.toEqual(take(8, 20));
    expect(take(7, 20)).not.toEqual(take(7 + 2 ** 32, 20));
  });

  test("is uniform on [0, 1): every tenth gets its share", () => {
    const counts = Array.from({ length: 10 }, () => 0);
    for (const value of take(1, 100_000)) counts[Math.floor(value * 10)] = (counts[Math.floor(value * 10)] ?? 0) + 1;
    expect(counts).toHaveLength(10);
    // Six standard deviations of a binomial count are 570.
    for (const count of counts) expect(Math.abs(count - 10_000)).toBeLessThan(570);
  });
});

describe("shuffled", () => {
  test("is a permutation, repeats for a seed, and leaves its input alone", () => {
    const items = Array.from({ length: 1000 }, (_, index) => index);
    const once = shuffled(items, 3);
    expect(once).toEqual(shuffled(items, 3));
    expect(once).not.toEqual(shuffled(items, 4));
    expect(once).not.toEqual(items);
    expect(once.toSorted((left, right) => left - right)).toEqual(items);
  });

  test("gives each order of three items equally often", () => {
    const counts = new Map<string, number>();
    for (let seed = 0; seed < 6000; seed += 1) {
      const order = shuffled(["a", "b", "c"], seed).join("");
      counts.set(order, (counts.get(order) ?? 0) + 1);
    }
    expect(counts.size).toBe(6);
    for (const count of counts.values()) expect(Math.abs(count - 1000)).toBeLessThan(180);
  });
});

test("randomInteger and randomItem cover their range and nothing else", () => {
  const random = seededRandom(0);
  const integers = new Set(Array.from({ length: 500 }, () => randomInteger(random, 5)));
  expect(integers).toEqual(new Set([0, 1, 2, 3, 4]));
  expect(new Set(Array.from({ length: 200 }, () => randomItem(random, ["x", "y"])))).toEqual(new Set(["x", "y"]));
  expect(() => randomItem(random, [])).toThrow(RangeError);
});

test("mixSeed tells its parts apart and hashText spreads", () => {
  expect(mixSeed(1, "a", 2)).not.toBe(mixSeed(1, "a", 3));
  expect(mixSeed(1, "a", 2)).not.toBe(mixSeed(1, "a2"));
  const buckets = new Set(Array.from({ length: 100 }, (_, index) => hashText(`value ${index}`) % 4));
  expect(buckets.size).toBe(4);
});
