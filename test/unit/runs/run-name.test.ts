import { expect, test } from "vitest";
import { newRunName } from "../../../ts/runs/run-name.js";

test("runs of one second have names of their own, which begin with it", () => {
  const now = new Date("2026-02-03T04:05:06.789Z");
  const names = new Set(Array.from({ length: 20 }, () => newRunName(now)));
  expect(names.size).toBe(20);
  for (const name of names) expect(name).toMatch(/^run-2026-02-03T04-05-06-[0-9a-f]{6}$/);
});
