import { describe, expect, test } from "vitest";
import { epochOrder } from "../../../ts/data/order.js";
import { splitRows } from "../../../ts/data/split.js";
import { seededRandom } from "../../../ts/util/random.js";
import { errorOf } from "../../support/thrown.js";

const ascending = (values: readonly number[]): number[] => values.toSorted((left, right) => left - right);

describe("splitRows", () => {
  const items = Array.from({ length: 100 }, (_, index) => index);

  test("is the same for a seed, another for another, and loses nothing", () => {
    const { train, dev } = splitRows(items, { share: 0.1, seed: 1 });
    expect(splitRows(items, { share: 0.1, seed: 1 })).toEqual({ train, dev });
    expect(splitRows(items, { share: 0.1, seed: 2 }).dev).not.toEqual(dev);
    expect(dev).toHaveLength(10);
    expect(ascending([...train, ...dev])).toEqual(items);
  });

  test("both parts hold at least one row", () => {
    expect(splitRows([1, 2], { share: 0.01, seed: 0 }).dev).toHaveLength(1);
    expect(splitRows([1, 2], { share: 0.99, seed: 0 }).train).toHaveLength(1);
    errorOf(() => splitRows([1], { share: 0.5, seed: 0 }), "data/empty");
  });
});

describe("epochOrder", () => {
  const random = seededRandom(5);
  const lengths = Array.from({ length: 1003 }, (_, row) => (row % 50 === 0 ? 0 : 5 + Math.floor(random() * 200)));
  const options = { rows: lengths.length, lengths, batchSize: 16, epoch: 0, seed: 3 };
  const lengthOf = (row: number): number => lengths[row] ?? 0;

  test("each row with a length occurs once an epoch, in full batches but for one", () => {
    const batches = epochOrder(options);
    const usable = lengths.flatMap((length, row) => (length > 0 ? [row] : []));
    expect(ascending(batches.flat())).toEqual(usable);
    const sizes = batches.map((batch) => batch.length);
    expect(sizes.filter((size) => size !== 16)).toEqual([usable.length % 16]);
  });

  test("repeats for seed and epoch, and differs between epochs and seeds", () => {
    expect(epochOrder(options)).toEqual(epochOrder(options));
    expect(epochOrder({ ...options, epoch: 1 })).not.toEqual(epochOrder(options));
    expect(epochOrder({ ...options, seed: 4 })).not.toEqual(epochOrder(options));
  });

  test("batches hold rows of like length and come in no order of length", () => {
    const batches = epochOrder(options);
    const padded = batches.reduce((sum, batch) => sum + batch.length * Math.max(...batch.map(lengthOf)), 0);
    const tokens = lengths.reduce((sum, length) => sum + length, 0);
    // Random batches of these lengths pad to about 1.8 times the tokens.
    expect(padded / tokens).toBeLessThan(1.2);
    const longest = batches.map((batch) => Math.max(...batch.map(lengthOf)));
    const rises = longest.slice(1).filter((length, index) => length > (longest[index] ?? 0)).length;
    expect(rises / longest.length).toBeGreaterThan(0.25);
    expect(rises / longest.length).toBeLessThan(0.75);
  });

  test("no rows, no batches", () => {
    expect(epochOrder({ ...options, rows: 0, lengths: [] })).toEqual([]);
    expect(epochOrder({ ...options, rows: 2, lengths: [0, 0] })).toEqual([]);
  });
});
