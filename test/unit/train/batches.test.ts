import { describe, expect, it } from "vitest";
import { BatchOrder } from "../../../ts/train/batches.js";

const lengths = Array.from({ length: 37 }, (_, row) => (row === 5 ? 0 : 10 + ((row * 7) % 90)));
const order = (position?: { readonly epoch: number; readonly batch: number }) =>
  new BatchOrder({ lengths, batchSize: 8, seed: 3, ...(position === undefined ? {} : { position }) });

describe("BatchOrder", () => {
  it("gives each row that was not dropped once an epoch", () => {
    const batches = order();
    const rows = Array.from({ length: batches.batchesPerEpoch }, () => batches.next().rows).flat();
    expect(rows.toSorted((a, b) => a - b)).toEqual(lengths.flatMap((length, row) => (length > 0 ? [row] : [])));
  });

  it("changes the order from epoch to epoch", () => {
    const batches = order();
    const epoch = () => Array.from({ length: batches.batchesPerEpoch }, () => batches.next().rows);
    expect(epoch()).not.toEqual(epoch());
  });

  it("goes on from a position as if it had never stopped, also across the end of an epoch", () => {
    const undisturbed = order();
    for (let step = 0; step < 4; step += 1) undisturbed.next();
    const resumed = order(undisturbed.position);
    for (let step = 0; step < 9; step += 1) expect(resumed.next()).toEqual(undisturbed.next());
    expect(resumed.position).toEqual(undisturbed.position);
  });
});
