import { describe, expect, it } from "vitest";
import { sweepSchema } from "../../../ts/spec/sweep.js";
import { expandSweep, selectJobs } from "../../../ts/sweep/expand.js";
import { errorOf } from "../../support/thrown.js";

const lora = { kind: "lora", rank: 8 };
const milora = { kind: "milora", preset: "small" };
const evaluate = { tasks: ["smart-home"] };
const data = { task: "smart-home" };

const expand = (sweep: object) => expandSweep(sweepSchema.parse({ name: "s", model: "m", ...sweep }));
const runsOf = (sweep: object) => expand(sweep).filter(({ kind }) => kind === "run");

describe("expandSweep", () => {
  it("makes every combination, the first axis slowest, each behind its group's one untuned model", () => {
    const jobs = expand({
      axes: { method: [lora, milora], "train.seed": [0, 1] },
      groups: [{ name: "home", spec: { data }, evaluate }],
    });
    expect(jobs.map(({ name }) => name)).toEqual([
      "home/before",
      "home/lora rank=8/seed-0",
      "home/lora rank=8/seed-1",
      "home/milora small/seed-0",
      "home/milora small/seed-1",
    ]);
    expect(jobs.map(({ row }) => row).slice(1)).toEqual([
      "lora rank=8",
      "lora rank=8",
      "milora small",
      "milora small",
    ]);
    expect(new Set(jobs.map(({ id }) => id)).size).toBe(5);
    for (const { before } of jobs.slice(1)) expect(before).toBe(jobs[0]?.id);
    expect(jobs[3]?.spec.method).toMatchObject({ kind: "milora", rank: 8, topK: 3 });
  });

  it("takes a variant: several fields at once, under a name of its own or the method's", () => {
    const slow = { name: "slow lora", method: lora, train: { learningRate: 1e-5 } };
    const runs = runsOf({
      axes: { variant: [slow, { method: milora, train: { learningRate: 1e-3 } }], "train.seed": [0, 1] },
      groups: [{ name: "home", spec: { data, train: { epochs: 1 } }, evaluate }],
    });
    expect(runs.map(({ name }) => name)).toEqual([
      "home/slow lora/seed-0",
      "home/slow lora/seed-1",
      "home/milora small/seed-0",
      "home/milora small/seed-1",
    ]);
    expect(runs.map(({ spec }) => [spec.train.learningRate, spec.train.epochs])).toEqual([
      [1e-5, 1],
      [1e-5, 1],
      [1e-3, 1],
      [1e-3, 1],
    ]);
    const wrong = { axes: { variant: [{ method: lora, trian: {} }] }, groups: [{ name: "home", spec: { data } }] };
    expect(errorOf(() => expand(wrong), "input/invalid-spec").message).toContain("trian");
  });

  it("has an untuned model for each way of holding the weights, which decides the score too", () => {
    const jobs = expand({
      axes: { "train.quantization": ["none", "nf4"] },
      groups: [{ name: "home", spec: { method: lora, data }, evaluate }],
    });
    const runs = jobs.filter(({ kind }) => kind === "run");
    expect(new Set(runs.map(({ before }) => before)).size).toBe(2);
    for (const { before, spec } of runs)
      expect(jobs.find(({ id }) => id === before)?.spec.train.quantization).toBe(spec.train.quantization);
  });

  it("lays the group over the sweep, and the axis over both, field by field", () => {
    const [run] = runsOf({
      spec: { method: { kind: "milora", rank: 4, topK: 2 }, train: { maxSteps: 5, batchSize: 4, learningRate: 1e-3 } },
      groups: [
        {
          name: "g",
          spec: { data, train: { maxSteps: 6, batchSize: 8 } },
          axes: { "train.maxSteps": [7], method: [{ rank: 9 }] },
        },
      ],
    });
    expect(run?.spec.train).toMatchObject({ maxSteps: 7, batchSize: 8, learningRate: 1e-3 });
    expect(run?.spec.method).toMatchObject({ kind: "milora", rank: 9, topK: 2 });
  });

  it("a group's axis takes the place of the sweep's; a model axis has an untuned model each", () => {
    const jobs = expand({
      axes: { "train.seed": [0, 1, 2] },
      groups: [{ name: "g", spec: { data, method: lora }, axes: { "train.seed": [5], model: ["a", "b"] }, evaluate }],
    });
    expect(jobs.map(({ kind, spec }) => [kind, spec.model])).toEqual([
      ["before", "a"],
      ["run", "a"],
      ["before", "b"],
      ["run", "b"],
    ]);
    expect(jobs.flatMap(({ kind, seed }) => (kind === "run" ? [seed] : []))).toEqual([5, 5]);
  });

  it("ids stay when fields change places or other values join the axes, and move with what decides a result", () => {
    const idOf = (group: object) => runsOf({ groups: [{ name: "g", evaluate, ...group }] })[0]?.id;
    const id = idOf({ spec: { data, method: lora, train: { seed: 1, maxSteps: 3 } } });
    expect(id).toMatch(/^g-seed-1-[0-9a-f]{8}$/);
    expect(idOf({ spec: { train: { maxSteps: 3, seed: 1 }, method: { rank: 8, kind: "lora" }, data } })).toBe(id);
    expect(idOf({ spec: { data, method: lora, train: { seed: 1, maxSteps: 4 } } })).not.toBe(id);
    expect(
      idOf({ spec: { data, method: lora, train: { seed: 1, maxSteps: 3 } }, evaluate: { ...evaluate, beams: 3 } }),
    ).not.toBe(id);
    const group = (methods: readonly object[]) =>
      runsOf({ groups: [{ name: "g", spec: { data }, axes: { method: methods } }] });
    expect(group([milora, lora])[1]?.id).toBe(group([lora])[0]?.id);
  });

  it("does without `evaluate`: no untuned model", () => {
    const jobs = expand({ groups: [{ name: "g", spec: { data: { train: "rows.jsonl" }, method: lora } }] });
    expect(jobs).toMatchObject([{ kind: "run", before: null, evaluate: undefined }]);
  });

  it("refuses an axis that no run has, with what was meant", () => {
    const error = errorOf(
      () =>
        expand({
          groups: [{ name: "g", spec: { data, method: lora }, axes: { "train.sede": [1], "method.rnk": [2] } }],
        }),
      "input/invalid-spec",
    );
    expect(error.problems).toEqual([
      `group g, axis "train.sede": a run's spec has no such field. Did you mean "train.seed"?`,
      `group g, axis "method.rnk": a run's spec has no such field. Did you mean "method.rank"?`,
    ]);
  });

  it("takes a path below a field of free names", () => {
    const axes = { "method.ranks.q": [4] };
    expect(() => expand({ groups: [{ name: "g", spec: { data, method: milora }, axes }] })).not.toThrow();
  });

  it("refuses a run that is there twice, also by a default", () => {
    const twice = (axes: object) =>
      errorOf(() => expand({ groups: [{ name: "g", spec: { data, method: lora }, axes }] }), "input/invalid-spec");
    expect(twice({ "train.seed": [0, 1, 0] }).message).toContain("g/seed-0 and g/seed-0");
    expect(twice({ method: [{ kind: "milora" }, { kind: "milora", topK: 3 }] }).problems).toHaveLength(1);
  });

  it("names the run whose spec is wrong, all at once, each problem once", () => {
    const axes = { method: [lora, { kind: "lora", topK: 3 }, { kind: "mlora" }], "train.seed": [0, 1] };
    const error = errorOf(() => expand({ groups: [{ name: "g", spec: { data }, axes }] }), "input/invalid-spec");
    expect(error.problems).toHaveLength(2);
    expect(error.problems[0]).toMatch(/^g\/lora topK=3: method.topK: /);
    expect(error.problems[1]).toContain('Did you mean "milora"?');
  });

  it("refuses a reference that no row is called, and the reference changes no id", () => {
    const groups = [{ name: "home", spec: { data }, evaluate }];
    const axes = { method: [lora, milora] };
    const named = expand({ axes, groups, reference: "milora small" });
    expect(named.map(({ id }) => id)).toEqual(expand({ axes, groups }).map(({ id }) => id));
    const error = errorOf(() => expand({ axes, groups, reference: "milora smal" }), "input/invalid-spec");
    expect(error).toMatchObject({ path: "reference", found: "milora smal", allowed: "lora rank=8, milora small" });
    expect(error.message).toContain('did you mean "milora small"?');
  });
});

describe("selectJobs", () => {
  it("takes what contains the text, with the untuned model it is compared with", () => {
    const jobs = expand({
      axes: { method: [lora, milora], "train.seed": [0, 1] },
      groups: [
        { name: "a", spec: { data }, evaluate },
        { name: "b", spec: { data }, evaluate: { ...evaluate, limit: 3 } },
      ],
    });
    expect(selectJobs(jobs, "b/lora").map(({ name }) => name)).toEqual([
      "b/before",
      "b/lora rank=8/seed-0",
      "b/lora rank=8/seed-1",
    ]);
    expect(selectJobs(jobs, "nothing")).toEqual([]);
  });
});
