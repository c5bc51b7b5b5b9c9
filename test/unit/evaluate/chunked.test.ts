import { expect, test } from "vitest";
import { runChunked } from "../../../ts/evaluate/chunked.js";

test("progress moves while a chunk is at work, never back, and a chunk ends only when its results are there", async () => {
  const seen: string[] = [];
  const results = await runChunked({
    items: [1, 2, 3, 4, 5, 6, 7, 8],
    sizeOf: (item) => item,
    batchSize: 4,
    run: (items, onEvent) => {
      for (const done of [0, 3, 4, 4, 9, 1, 12]) onEvent({ type: "progress", stage: "generating", done, total: 12 });
      onEvent({ type: "log", level: "info", text: "no progress" });
      return Promise.resolve(items.map((item) => 10 * item));
    },
    onProgress: (done, total) => seen.push(`${done}/${total}`),
  });
  expect(seen).toEqual(["0/8", "1/8", "3/8", "4/8", "5/8", "7/8", "8/8"]);
  expect(results).toEqual([10, 20, 30, 40, 50, 60, 70, 80]);
});
