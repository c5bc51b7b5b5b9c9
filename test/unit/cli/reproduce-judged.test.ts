import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { judgedRows } from "../../../ts/cli/commands/reproduce-judged.js";
import type { ComparedTable } from "../../../ts/reproduce/compare.js";
import { sweepRecordSchema } from "../../../ts/runs/sweep-record.js";
import { temporaryFolder } from "../../support/temporary-folder.js";

const job = (row: string, seed: number) => ({
  id: `${row}-${seed}`,
  name: row,
  kind: "run",
  group: "alpaca",
  row,
  seed,
  tasks: ["mt-bench"],
  before: null,
  state: "finished",
  attempts: 1,
  error: null,
  finished: null,
  machine: null,
  train: null,
  scores: null,
});
const { jobs: records } = sweepRecordSchema.parse({
  format: 1,
  name: "s",
  description: null,
  model: "m",
  created: "c",
  plan: [],
  jobs: [job("milora", 0), job("milora", 1), job("moelora", 0)],
});

const unscored = { ours: null, range: null, seeds: 0, before: null, trainable: 1, paperTrainable: null };
const tables: readonly ComparedTable[] = [
  {
    column: "mt-bench",
    group: "alpaca",
    measure: "accuracy",
    source: "Table 3",
    protocols: [],
    rows: [
      { row: "milora", paper: 7.21, ...unscored },
      { row: "moelora", paper: 7.08, ...unscored },
    ],
  },
];

it("says what is missing without a judge, and takes its mean scores once there are some", async () => {
  const out = await temporaryFolder();
  const without = await judgedRows(tables, { records, out });
  expect(without.tables).toBe(tables);
  expect(without.missing).toHaveLength(1);
  expect(without.missing[0]).toContain("milora judge milora-seed-0=");
  expect(without.missing[0]).toContain("moelora-seed-0=");
  const mean = (label: string, value: number) => ({ label, overall: { mean: value } });
  const methods = [mean("milora-seed-0", 6), mean("milora-seed-1", 7), mean("moelora-seed-0", 5)];
  writeFileSync(join(out, "mt-bench.json"), JSON.stringify({ protocol: "single", methods }));
  const judged = await judgedRows(tables, { records, out });
  expect(judged.missing).toEqual([]);
  expect(judged.tables[0]).toMatchObject({
    measure: "score of 10",
    protocols: ["single"],
    rows: [
      { row: "milora", ours: 6.5, range: [6, 7], seeds: 2, paper: 7.21 },
      { row: "moelora", ours: 5, range: null, seeds: 1 },
    ],
  });
});
