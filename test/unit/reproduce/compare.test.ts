import { describe, expect, it } from "vitest";
import type { SweepRow, SweepTable } from "../../../ts/report/sweep-table.js";
import { comparedTables } from "../../../ts/reproduce/compare.js";
import { table1 } from "../../../ts/reproduce/paper-figures.js";
import { reproductionMarkdown } from "../../../ts/reproduce/text.js";

const row = (name: string, values: readonly number[]): SweepRow => ({
  row: name,
  trainable: 2_442_240,
  activated: null,
  before: 0.3,
  after: values.map((value, seed) => ({ seed, value })),
  median: values[0] ?? null,
  spread: null,
  range: values.length > 1 ? [Math.min(...values), Math.max(...values)] : null,
  againstBefore: "unknown",
  againstBest: null,
  paired: null,
  trainTokensPerSecond: null,
  decodeTokensPerSecond: null,
  missing: 0,
});

const table = (task: string, rows: readonly SweepRow[]): SweepTable => ({
  group: task,
  task,
  measure: "accuracy",
  protocols: ["how it was scored"],
  chance: 0.25,
  majority: 0.3,
  reference: "milora",
  rows,
});

const tables = [
  table("arc-easy", [row("milora", [0.5, 0.6]), row("lora", [0.4, 0.5])]),
  table("boolq", [row("milora", [0.7, 0.6]), row("lora", [0.6])]),
];
const means = [{ column: "mean", groups: ["arc-easy", "boolq"] }];

describe("comparedTables", () => {
  it("lays our medians beside the paper's column of the same task, in percent", () => {
    const [first] = comparedTables(tables, { papers: [table1], means });
    expect(first).toMatchObject({ column: "arc-easy", source: table1.source });
    expect(first?.rows).toMatchObject([
      { row: "milora", ours: 50, range: [50, 60], seeds: 2, before: 30, paper: 77.8, paperTrainable: "80.9M" },
      { row: "lora", ours: 40, paper: 73.4 },
    ]);
  });

  it("takes a mean of each seed that every task has, then the median over the seeds", () => {
    const mean = comparedTables(tables, { papers: [table1], means }).at(-1);
    expect(mean?.rows[0]).toMatchObject({ row: "milora", seeds: 2, paper: 61.5 });
    expect(mean?.rows[0]?.ours).toBeCloseTo(60);
    expect(mean?.rows[1]).toMatchObject({ row: "lora", seeds: 1, range: null });
    expect(mean?.rows[1]?.ours).toBeCloseTo(50);
  });

  it("says nothing of the paper where it has no such column", () => {
    const found = comparedTables([table("smart-home", [row("milora", [])])], { papers: [table1, table1], means: [] });
    expect(found).toHaveLength(1);
    expect(found[0]).toMatchObject({ source: null, rows: [{ ours: null, paper: null, seeds: 0 }] });
  });
});

it("a table of speeds has no columns of a training", () => {
  const speed = { ours: 19.94, range: null, seeds: 0, before: null, trainable: null, paperTrainable: null };
  const tables = [
    {
      column: "tokens/s, 1 beam",
      group: null,
      measure: "speed" as const,
      source: "Table 4",
      protocols: [],
      rows: [
        { ...speed, row: "base (milora)", paper: null },
        { ...speed, row: "milora (milora)", paper: 43.7 },
      ],
    },
  ];
  const rest = { target: "table-4", title: "Table 4", scale: "small", model: "m", routing: [], missing: [] };
  const text = reproductionMarkdown({ ...rest, tables, differences: ["another machine"] });
  expect(text.split("\n").slice(4)).toEqual([
    "## tokens/s, 1 beam",
    "",
    "Paper: Table 4.",
    "",
    "| row | ours | paper |",
    "| --- | ---: | ---: |",
    "| base (milora) | 19.9 | - |",
    "| milora (milora) | 19.9 | 43.7 |",
    "",
    "## Not as in the paper",
    "",
    "- another machine",
    "",
  ]);
});

it("writes what is missing first, and what is not as in the paper last", () => {
  const text = reproductionMarkdown({
    target: "table-1",
    title: "Table 1",
    scale: "small",
    model: "m",
    tables: comparedTables(tables, { papers: [table1], means: [] }),
    routing: [{ task: "boolq", prompts: 9, activeShare: { Q: 0.5, K: 0.25 } }],
    differences: ["another model"],
    missing: ["a judge"],
  });
  expect(text).toContain("| milora | 2,442,240 | 30.0 | 50.0 | 50.0 to 60.0 | 2 | 77.8 | 80.9M |");
  expect(text).toContain("| boolq | 9 | 50.0 % | 25.0 % |");
  expect(text.indexOf("- a judge")).toBeLessThan(text.indexOf("## arc-easy"));
  expect(text.indexOf("- another model")).toBeGreaterThan(text.indexOf("## boolq"));
});
