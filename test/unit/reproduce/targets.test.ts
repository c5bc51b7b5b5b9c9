import { describe, expect, it } from "vitest";
import { checkSweepSpec } from "../../../ts/client/load-sweep.js";
import { smallSize } from "../../../ts/reproduce/groups.js";
import { targets } from "../../../ts/reproduce/targets.js";
import { expandSweep } from "../../../ts/sweep/expand.js";
import { tasks } from "../../../ts/tasks/registry.js";

const model = "llama-2-7b";

const runsOf = (name: string, scale: "paper" | "small", small = smallSize) => {
  const target = targets[name];
  if (target === undefined) throw new Error(`there is no ${name}`);
  const sweep = checkSweepSpec(target.sweep({ model, dir: "data", scale, small }), { what: name });
  return { target, sweep, runs: expandSweep(sweep).filter(({ kind }) => kind === "run") };
};

const distinct = (values: readonly unknown[]): readonly unknown[] => [...new Set(values)];

describe("the targets of reproduce", () => {
  it.each(Object.keys(targets).flatMap((name) => [[name, "paper"] as const, [name, "small"] as const]))(
    "%s at %s scale: its runs are right, its rows and columns are the paper's where that has figures",
    (name, scale) => {
      const { target, runs } = runsOf(name, scale);
      const rows = distinct(runs.map(({ row }) => row));
      for (const paper of target.paper(model)) {
        for (const row of Object.keys(paper.rows))
          expect(scale === "paper" || !row.includes("=") ? rows : [row]).toContain(row);
        const scored = [
          ...runs.flatMap(({ evaluate }) => evaluate?.tasks ?? []),
          ...target.means(scale).map(({ column }) => column),
        ];
        if (scale === "paper") for (const column of paper.columns) expect(scored).toContain(column);
      }
      for (const task of Object.values(target.routing(scale))) expect(Object.keys(tasks)).toContain(task);
      for (const { groups } of target.means(scale))
        for (const group of groups) expect(runs.map((run) => run.group)).toContain(group);
    },
  );

  it("has the paper's settings at its scale", () => {
    const { runs } = runsOf("table-1", "paper");
    expect(runs).toHaveLength(13 * 7 * 5);
    for (const { spec, evaluate } of runs) {
      expect(spec.train).toMatchObject({
        learningRate: 1e-4,
        epochs: 10,
        evalEvery: 200,
        patience: 10,
        maxLength: 768,
      });
      expect(spec.train).toMatchObject({ warmup: 0.06, activationLearningRate: 1e-6, activationEvery: 1 });
      expect(evaluate).toMatchObject({ scorer: "generate", beams: 3 });
    }
    const method = (kind: string) => runs.find(({ row }) => row === kind)?.spec.method;
    expect(method("milora")).toMatchObject({
      rank: 32,
      topK: 3,
      pooler: "self-attention",
      balance: 0.01,
      activation: "rational",
    });
    expect(method("adalora")).toMatchObject({ initialRank: 64, targetRank: 32 });
    expect(method("parallel-adapter")).toMatchObject({ bottleneck: 160 });
    expect(method("iapt")).toMatchObject({ bottleneck: 320 });
    expect(method("bitfit")).toMatchObject({ vector: 64 });
  });

  it("moves one field in each curve, the paper's own value first", () => {
    const values = (name: string, field: string) =>
      distinct(runsOf(name, "paper").runs.map(({ spec }) => Reflect.get(spec.method, field)));
    expect(values("figure-3", "topK")).toEqual([3, 1, 2, 4, 5, 6, 7]);
    expect(values("figure-4", "balance")).toEqual([0.01, 0, 0.001, 0.1, 1]);
    expect(values("figure-5", "rank")).toEqual([32, 8, 16, 64, 128, 256]);
  });

  it("keeps the small budget in the ablations", () => {
    for (const { spec } of runsOf("table-5", "small").runs)
      expect(spec.method).toMatchObject({ kind: "milora", rank: 8 });
  });

  it("takes as many rows and seeds at small scale as it is told, and says so", () => {
    const small = { rows: 96, testRows: 50, seeds: 2 };
    const { target, runs } = runsOf("table-1", "small", small);
    expect(runs).toHaveLength(13 * 2);
    expect(distinct(runs.map(({ spec }) => spec.train.seed))).toEqual([0, 1]);
    for (const { spec, evaluate } of runs) {
      expect(spec.data).toMatchObject({ limit: 96 });
      expect(evaluate).toMatchObject({ limit: 50 });
    }
    const said = target.differences("small", small).join(" ");
    expect(said).toMatch(/96 training rows.*2 seeds or one.*first 50 test rows/u);
    expect(distinct(runsOf("figure-2", "small", small).runs.map(({ spec }) => spec.train.seed))).toEqual([0]);
  });

  it("takes the paper's row of the backbone that is named", () => {
    const sources = (name: string) => targets["table-7"]?.paper(name).map(({ source }) => source);
    expect(sources("google/gemma-2b")).toEqual(["Table 7 (Gemma 2B)"]);
    expect(sources("meta-llama/Llama-2-13b-hf")).toEqual(["Table 7 (Llama-2 13B)"]);
    expect(sources("other")).toHaveLength(2);
  });
});
