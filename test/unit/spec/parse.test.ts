import { describe, expect, it } from "vitest";
import { MiloraError } from "../../../ts/errors.js";
import { parseWith } from "../../../ts/spec/parse.js";
import { runSchema } from "../../../ts/spec/run.js";

const problemsOf = (value: unknown): readonly string[] => {
  try {
    parseWith(runSchema, value, { what: "The spec", file: "spec.json" });
  } catch (error) {
    if (MiloraError.isInstance(error)) return error.problems;
    throw error;
  }
  return [];
};

const base = { model: "m", method: { kind: "milora" }, data: { task: "arc-easy" } };

describe("parseWith", () => {
  it("fills the paper's settings", () => {
    const spec = parseWith(runSchema, base, { what: "The spec" });
    expect(spec.method).toMatchObject({ rank: 32, topK: 3, balance: 0.01 });
    expect(spec.train).toMatchObject({
      learningRate: 1e-4,
      activationLearningRate: 1e-6,
      maxLength: 768,
      patience: 10,
    });
  });

  it("neither looks for the micro-batch nor compiles layers on ranks that share a base", () => {
    const withStrategy = (strategy: string, microBatch: number | "auto", compile = false) => ({
      ...base,
      train: { microBatch, compile },
      scale: { ranks: 2, strategy },
    });
    expect(problemsOf(withStrategy("replicate", "auto"))).toEqual([]);
    expect(problemsOf(withStrategy("shard", 4))).toEqual([]);
    expect(problemsOf(withStrategy("shard", "auto"))).toEqual([
      expect.stringMatching(/^train\.microBatch: auto goes with scale\.strategy "replicate" alone/u),
    ]);
    expect(problemsOf(withStrategy("replicate", 4, true))).toEqual([]);
    expect(problemsOf(withStrategy("shard", 4, true))).toEqual([
      expect.stringMatching(/^train\.compile: layers are compiled with scale\.strategy "replicate" alone/u),
    ]);
    expect(problemsOf(withStrategy("halves", 4))).toEqual([expect.stringMatching(/^scale\.strategy: /u)]);
  });

  it("lists all five of five errors with their paths", () => {
    const problems = problemsOf({
      model: "",
      method: { kind: "milora", rank: 0, topk: 2 },
      data: { task: "arc-easy", dev: { split: 2 } },
      train: { learningRate: "fast" },
    });
    expect(problems).toHaveLength(5);
    for (const path of ["model", "method.rank", "method.topk", "data.dev.split", "train.learningRate"])
      expect(problems.some((problem) => problem.startsWith(`${path}: `))).toBe(true);
  });

  it("says what an unknown method was meant to be", () => {
    const [problem] = problemsOf({ ...base, method: { kind: "mlora" } });
    expect(problem).toMatch(/^method\.kind: found "mlora"\. Did you mean "milora"\?/);
  });

  it("says what an unknown field was meant to be", () => {
    expect(problemsOf({ ...base, train: { learnRate: 1 } })).toEqual([
      'train.learnRate: this field is not known here. Did you mean "learningRate"?',
    ]);
  });

  it("tells the branch of a union that was meant", () => {
    const problems = problemsOf({ ...base, data: { train: "rows.jsonl", dev: 3 } });
    expect(problems.every((problem) => problem.startsWith("data"))).toBe(true);
    expect(problems.join()).not.toContain("data.task");
  });

  it("names a missing field", () => {
    expect(problemsOf({ method: base.method, data: base.data })[0]).toMatch(/^model: .*found nothing/);
  });
});
