import type { EvaluationResult } from "../../ts/evaluate/result.js";
import { summarize } from "../../ts/evaluate/result.js";

/** A result by what was right, row by row: `1` right, `0` wrong. All else is the same unless `change` says so. */
export const madeUpResult = (right: string, change: Partial<EvaluationResult> = {}): EvaluationResult => {
  const rows = Array.from(right, (digit, index) => ({
    index,
    prompt: `Question ${index}?`,
    output: digit === "1" ? "yes" : "no",
    read: digit === "1" ? "yes" : "no",
    expected: "yes",
    correct: digit === "1",
  }));
  return {
    task: "toy",
    version: 1,
    split: "test",
    scorer: "generate",
    reader: "robust",
    template: "default",
    templateHash: "0123456789ab",
    protocol: `toy v1; all ${rows.length} test rows; template default (0123456789ab); generate (greedy), robust reader`,
    chance: 0.5,
    seconds: 1,
    ...summarize(rows),
    rows,
    ...change,
  };
};
