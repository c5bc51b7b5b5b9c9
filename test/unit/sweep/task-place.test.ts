import { expect, test } from "vitest";
import { dataSchema } from "../../../ts/spec/data.js";
import { taskPlace } from "../../../ts/sweep/task-place.js";

test("a run's scores are made on the rows that its spec names", () => {
  const place = (data: unknown) => taskPlace(dataSchema.parse(data));
  expect(place({ task: "boolq", dir: "d", hub: { revision: "v1" } })).toEqual({ dir: "d", hub: { revision: "v1" } });
  expect(place({ train: "rows.jsonl" })).toEqual({ dir: undefined });
  expect(place({ mix: [{ train: "rows.jsonl" }, { task: "boolq", dir: "d" }, { task: "piqa", dir: "e" }] })).toEqual({
    dir: "d",
  });
});
