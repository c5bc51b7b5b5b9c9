import { describe, expect, it } from "vitest";
import { sweepCsv, sweepMarkdown } from "../../../ts/report/sweep-report.js";
import { sweepTables } from "../../../ts/report/sweep-table.js";
import {
  sweepRecordSchema,
  type ScoreFigures,
  type SweepJobRecord,
  type SweepRecord,
} from "../../../ts/runs/sweep-record.js";

const score = (
  accuracy: number,
  interval: readonly [number, number] = [accuracy - 0.05, accuracy + 0.05],
): ScoreFigures => ({
  task: "arc",
  version: 1,
  scorer: "generate",
  template: "t",
  templateHash: "h",
  protocol: "arc v1; 100 rows",
  accuracy,
  correct: Math.round(100 * accuracy),
  total: 100,
  unparsed: 0,
  chance: 0.25,
  majority: 0.26,
  interval: [...interval],
  seconds: 2,
  newTokens: 200,
  tokensPerSecond: 100 * accuracy,
});

const job = (change: Partial<SweepJobRecord>): SweepJobRecord => ({
  id: change.name ?? "",
  name: "",
  kind: "run",
  group: "g",
  row: "lora",
  seed: 0,
  tasks: ["arc"],
  before: "before",
  state: "finished",
  attempts: 1,
  error: null,
  finished: "2026-01-02T03:04:05Z",
  seconds: 60,
  machine: { cores: 2, processor: "A CPU", platform: "linux-x64", node: "20.0.0" },
  train: {
    versions: { torch: "2.13" },
    device: "cpu",
    dtype: "bfloat16",
    step: 5,
    stoppedBy: "epochs",
    best: { step: 5, devPerplexity: 2 },
    tokensPerSecond: 40,
    parameters: { trainable: 1000, activated: { min: 100, mean: 200, max: 300 } },
  },
  scores: [score(0.5)],
  ...change,
});

const before = job({
  name: "before",
  kind: "before",
  seed: null,
  before: null,
  train: null,
  scores: [score(0.4, [0.3, 0.5])],
});

const recordOf = (jobs: readonly SweepJobRecord[]): SweepRecord =>
  sweepRecordSchema.parse({
    format: 1,
    name: "Baselines",
    description: "All of them.",
    model: "m",
    created: "c",
    plan: jobs.map(({ id }) => id),
    jobs,
  });

/** Runs of one method, a seed each. */
const runs = (row: string, accuracies: readonly number[]): readonly SweepJobRecord[] =>
  accuracies.map((accuracy, seed) => job({ name: `${row}-${seed}`, row, seed, scores: [score(accuracy)] }));

const rowsOf = (jobs: readonly SweepJobRecord[]) => sweepTables(recordOf([before, ...jobs]))[0]?.rows ?? [];

describe("sweepTables", () => {
  it("has median and spread over three seeds, counts from the record, median rates", () => {
    expect(rowsOf(runs("lora", [0.6, 0.5, 0.52]))).toEqual([
      {
        row: "lora",
        trainable: 1000,
        activated: { min: 100, mean: 200, max: 300 },
        before: 0.4,
        after: [
          { seed: 0, value: 0.6 },
          { seed: 1, value: 0.5 },
          { seed: 2, value: 0.52 },
        ],
        median: 0.52,
        spread: [0.5, 0.6],
        range: [0.5, 0.6],
        againstBefore: "better",
        againstBest: null,
        paired: null,
        trainTokensPerSecond: 40,
        decodeTokensPerSecond: 52,
        missing: 0,
      },
    ]);
  });

  it("calls no difference inside the spread a win", () => {
    const [lora, milora, dora] = rowsOf([
      ...runs("lora", [0.55, 0.6, 0.65]),
      ...runs("milora", [0.6, 0.66, 0.7]),
      ...runs("dora", [0.35, 0.42, 0.5]),
    ]);
    expect(milora).toMatchObject({ againstBest: null, againstBefore: "better" });
    expect(lora).toMatchObject({ againstBest: "inside the spread", againstBefore: "better" });
    expect(dora).toMatchObject({ againstBest: "worse", againstBefore: "inside the spread" });
  });

  it("touching ranges are no difference", () => {
    const [, milora] = rowsOf([...runs("lora", [0.6, 0.7]), ...runs("milora", [0.5, 0.6])]);
    expect(milora?.againstBest).toBe("inside the spread");
  });

  it("with one seed the intervals of the rows decide", () => {
    const [near, far] = rowsOf([...runs("near", [0.5]), ...runs("far", [0.7])]);
    expect(near).toMatchObject({ againstBefore: "inside the spread", againstBest: "worse", spread: [0.5, 0.5] });
    expect(far).toMatchObject({ againstBefore: "better", againstBest: null });
  });

  it("is by dev perplexity, lower is better, where nothing is scored; one seed of it is not comparable", () => {
    const perplexity = (row: string, values: readonly number[]) =>
      values.map((value, seed) => {
        const { train } = job({});
        const figures = train === null ? null : { ...train, best: { step: 1, devPerplexity: value } };
        return job({ name: `${row}-${seed}`, row, seed, tasks: [], before: null, scores: null, train: figures });
      });
    const [table] = sweepTables(
      recordOf([...perplexity("a", [3, 4]), ...perplexity("b", [1, 2]), ...perplexity("c", [9])]),
    );
    expect(table).toMatchObject({ task: null, measure: "dev perplexity", chance: null });
    expect(table?.rows.map(({ againstBest }) => againstBest)).toEqual(["worse", null, "unknown"]);
    expect(table?.rows.map(({ before, againstBefore }) => [before, againstBefore])).toEqual(
      [0, 1, 2].map(() => [null, "unknown"]),
    );
  });

  it("counts runs without a result, whatever an old record of theirs says", () => {
    const [row] = rowsOf([
      ...runs("lora", [0.5]),
      job({ name: "lora-1", row: "lora", seed: 1, state: "failed", error: "e" }),
    ]);
    expect(row).toMatchObject({ missing: 1, after: [{ seed: 0, value: 0.5 }] });
  });

  it("reads records without parameter counts", () => {
    const { train } = job({});
    const figures = train === null ? null : { ...train, parameters: undefined };
    expect(rowsOf([job({ name: "old", train: figures })])[0]).toMatchObject({ trainable: null, activated: null });
  });
});

describe("the written tables", () => {
  const record = recordOf([
    before,
    ...runs("lora", [0.55, 0.65]),
    ...runs("milora", [0.6, 0.7]),
    job({ name: "g/dora", row: "dora", state: "failed", error: "out of\nmemory", scores: null, train: null }),
  ]);

  it("Markdown tells conditions, protocol, levels, results, and what failed", () => {
    const text = sweepMarkdown(record, sweepTables(record));
    for (const part of [
      "# Baselines",
      "All of them.",
      "- machine: 2 cores of A CPU, linux-x64, Node 20.0.0",
      "- device and dtype: cpu, bfloat16",
      "- versions: torch 2.13",
      "- last result: 2026-01-02",
      "Scored: arc v1; 100 rows.",
      "Chance 25.0 %, always the most frequent answer 26.0 %.",
      "| milora | 1,000 | 100 / 200 / 300 | 40.0 % | 0: 60.0 %, 1: 70.0 % | **65.0 %** | 60.0 % to 70.0 % | better | 40 | 65 |",
      "1: 65.0 % | <u>60.0 %</u> ≈ |",
      "| dora | - | - | 40.0 % | 1 missing | - | - | unknown | - | - |",
      "Best median: milora; inside the spread, so no difference is shown: lora.",
      "- g/dora: failed: out of memory",
    ])
      expect(text).toContain(part);
  });

  it("CSV has one line a row, quoted where need be", () => {
    const lines = sweepCsv(sweepTables(recordOf([before, ...runs('a, "b"', [0.5, 0.75])])))
      .trimEnd()
      .split("\n");
    expect(lines).toHaveLength(2);
    expect(lines[1]).toBe(
      'g,arc,accuracy,"a, ""b""",1000,100,200,300,0.4,0=0.5 1=0.75,0.625,0.5,0.75,better,,40,62.5,0.25,0.26,,,,,,,,,,',
    );
  });
});
