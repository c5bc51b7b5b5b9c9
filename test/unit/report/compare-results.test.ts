import { describe, expect, test } from "vitest";
import { compareResults, resultDifferences } from "../../../ts/report/compare-results.js";
import type { EvaluationResult } from "../../../ts/evaluate/result.js";
import { mcNemarTest, pairedInterval } from "../../../ts/util/paired.js";
import { madeUpResult } from "../../support/results.js";
import { errorOf } from "../../support/thrown.js";

const before = madeUpResult("1100000000");
const after = madeUpResult("1011111111");

describe("compareResults", () => {
  test("counts who was right alone, and tests just that", () => {
    const compared = compareResults(before, after);
    const counts = { both: 1, onlyFirst: 1, onlySecond: 8, neither: 0 };
    expect(compared).toMatchObject({
      task: "toy",
      protocol: before.protocol,
      total: 10,
      first: { accuracy: 0.2, correct: 2, unparsed: 0, record: null },
      second: { accuracy: 0.9, correct: 9 },
      ...counts,
      difference: 0.7,
      interval: pairedInterval(counts),
      ...mcNemarTest(counts),
      verdict: "better",
    });
    // 2 (1 + 9) / 2⁹.
    expect(compared.p).toBeCloseTo(20 / 512, 12);
    expect(compareResults(after, before)).toMatchObject({ difference: -0.7, verdict: "worse", onlyFirst: 8 });
  });

  test("a difference that chance makes often is inside the noise", () => {
    expect(compareResults(madeUpResult("110000"), madeUpResult("001111")).verdict).toBe("inside the noise");
    expect(compareResults(before, before)).toMatchObject({
      difference: 0,
      p: 1,
      midP: 1,
      verdict: "inside the noise",
    });
  });

  test("the order of rows does not matter", () => {
    const shuffled = { ...after, rows: after.rows.toReversed() };
    expect(compareResults(before, shuffled)).toEqual(compareResults(before, after));
  });
});

const changed = (rows: (row: EvaluationResult["rows"][number]) => object): EvaluationResult => ({
  ...after,
  rows: after.rows.map((row) => ({ ...row, ...rows(row) })),
});

const refusals: readonly (readonly [string, EvaluationResult, string])[] = [
  ["task", { ...after, task: "other" }, 'task: "toy" in the first, "other" in the second'],
  ["version", { ...after, version: 2 }, "version: 1 in the first, 2 in the second"],
  ["split", { ...after, split: "dev" }, 'split: "test"'],
  ["template", { ...after, template: "letter" }, 'template: "default"'],
  ["template's text", { ...after, templateHash: "ba9876543210" }, "templateHash"],
  ["scorer", { ...after, scorer: "label" }, 'scorer: "generate"'],
  [
    "reader",
    { ...after, protocol: after.protocol.replace("robust", "compat") },
    'protocol: "generate (greedy), robust reader" in the first, "generate (greedy), compat reader" in the second',
  ],
  ["number of rows", madeUpResult("10111"), "rows: 10 in the first, 5 in the second"],
  ["choice of rows", changed(({ index }) => ({ index: index + 1 })), "rows: 10 rows differ, at row 0 0 in the first"],
  ["question", changed(({ index, prompt }) => ({ prompt: index === 3 ? "?" : prompt })), "prompts: 1 row differs, at row 3"],
  ["expected answer", changed(({ index }) => ({ expected: index > 7 ? "no" : "yes" })), "expected answers: 2 rows"],
]; // prettier-ignore

describe("refusals", () => {
  test.each(refusals)("another %s", (_what, second, told) => {
    const error = errorOf(() => compareResults(before, second), "input/invalid-spec");
    expect(error.problems.join("\n")).toContain(told);
    expect(error.message).toContain(told);
    expect(error.hint).toBeDefined();
  });

  test("all that differs is told at once", () => {
    const second = { ...after, version: 2, scorer: "label" as const, templateHash: "x" };
    expect(resultDifferences(before, second)).toHaveLength(3);
    expect(resultDifferences(before, after)).toEqual([]);
  });

  test("answers that are to be judged, and no rows at all", () => {
    const judged = { ...after, accuracy: null, unscored: 10 };
    expect(errorOf(() => compareResults(before, judged), "input/invalid-spec").message).toContain(
      "The second result of toy has no score: found answers that are to be judged",
    );
    expect(errorOf(() => compareResults(judged, before), "input/invalid-spec").message).toContain("The first");
    errorOf(() => compareResults(madeUpResult(""), madeUpResult("")), "input/invalid-spec");
  });
});
