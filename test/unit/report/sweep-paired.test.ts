import { describe, expect, it } from "vitest";
import type { ComparableResult } from "../../../ts/report/compare-results.js";
import { sweepCsv, sweepMarkdown } from "../../../ts/report/sweep-report.js";
import { sweepTables } from "../../../ts/report/sweep-table.js";
import { sweepRecordSchema, type SweepRecord } from "../../../ts/runs/sweep-record.js";
import { holmAdjusted, mcNemarTest, pairedInterval, signFlipTest } from "../../../ts/util/paired.js";
import { madeUpResult } from "../../support/results.js";

/** Answers of each method's seeds, row by row. */
type Answers = Readonly<Record<string, readonly (string | null)[]>>;

const share = (right: string): number => right.replaceAll("0", "").length / right.length;

const jobOf = (row: string, seed: number, right: string | null) => ({
  id: `${row}-${seed}`,
  name: `g/${row}/seed-${seed}`,
  kind: "run",
  group: "g",
  row,
  seed,
  tasks: ["toy"],
  before: null,
  state: right === null ? "failed" : "finished",
  attempts: 1,
  error: null,
  finished: null,
  machine: null,
  train: null,
  scores: right === null ? null : [{ ...madeUpResult(right), interval: [0, 1], accuracy: share(right) }],
});

const sweepOf = (answers: Answers, reference?: string) => {
  const all = Object.entries(answers).flatMap(([row, seeds]) => seeds.map((right, seed) => ({ row, right, seed })));
  const jobs = all.map(({ row, right, seed }) => jobOf(row, seed, right));
  const plan = jobs.map(({ id }) => id);
  const base = { format: 1, name: "s", description: null, model: "m", created: "c", plan, jobs };
  const record: SweepRecord = sweepRecordSchema.parse(reference === undefined ? base : { ...base, reference });
  const results = new Map<string, readonly ComparableResult[]>(
    all.flatMap(({ row, right, seed }) =>
      right === null ? [] : [[`${row}-${seed}`, [madeUpResult(right)]] as const],
    ),
  );
  return { record, results };
};

const rowsOf = ({ record, results }: ReturnType<typeof sweepOf>) => sweepTables(record, results)[0]?.rows ?? [];

const zeros = "0".repeat(20);
const five = "1".repeat(5).padEnd(20, "0");
const six = "1".repeat(6).padEnd(20, "0");
const better = `${"1".repeat(12)}${"0".repeat(8)}`;

describe("a sweep's paired comparisons", () => {
  it("has each seed's McNemar and interval, and one test over the rows of all seeds", () => {
    const [lora, milora] = rowsOf(
      sweepOf({ lora: ["1100000000", "1010000000"], milora: ["1011110000", "0111110000"] }),
    );
    expect(lora?.paired).toBeNull();
    // The seeds' ranges do not touch, but so few rows tell nothing.
    expect([lora?.spread, milora?.spread]).toEqual([[0.2, 0.2], [0.5, 0.5]]); // prettier-ignore
    expect([lora?.againstBest, milora?.againstBest]).toEqual(["inside the spread", null]);
    const first = { both: 1, onlyFirst: 1, onlySecond: 4, neither: 4 };
    const second = { both: 1, onlyFirst: 1, onlySecond: 4, neither: 4 };
    const test = signFlipTest([-1, 0, 1, 2, 2, 2, 0, 0, 0, 0]);
    expect(milora?.paired).toEqual({
      reference: "lora",
      seeds: [
        { seed: 0, ...first, difference: 0.3, interval: pairedInterval(first), ...mcNemarTest(first) },
        { seed: 1, ...second, difference: 0.3, interval: pairedInterval(second), ...mcNemarTest(second) },
      ],
      difference: 0.3,
      spread: [0.3, 0.3],
      onlyReference: 2,
      onlyMethod: 8,
      ...test,
      adjustedP: test.p,
      verdict: "inside the noise",
    });
  });

  it("calls no row worse than the best, or better than the untuned model, that the same questions do not tell apart", () => {
    const few = "1".repeat(9).padEnd(20, "0");
    const { record, results } = sweepOf({
      lora: [zeros, zeros],
      milora: [few, few],
      dora: [better, better],
    });
    const untuned = { ...jobOf("before", 0, five), kind: "before" as const, seed: null, id: "untuned" };
    const jobs = [...record.jobs.map((job) => ({ ...job, before: "untuned" })), untuned];
    const withUntuned = sweepRecordSchema.parse({ ...record, plan: [...record.plan, "untuned"], jobs });
    const known = new Map([...results, ["untuned", [madeUpResult(five)]]]);
    const rows = rowsOf({ record: withUntuned, results: known });
    // No ranges touch; of milora and dora, of which neither is the reference, three questions are not enough.
    expect(rows.map(({ againstBest }) => againstBest)).toEqual(["worse", "inside the spread", null]);
    expect(rows.map(({ againstBefore }) => againstBefore)).toEqual([
      "inside the spread",
      "inside the spread",
      "better",
    ]);
    // Without the answers the ranges decide.
    const unknown = rowsOf({ record: withUntuned, results: new Map() });
    expect(unknown.map(({ againstBest }) => againstBest)).toEqual(["worse", "worse", null]);
  });

  it("the same rows again are no new evidence: three equal seeds say what one says", () => {
    const one = rowsOf(sweepOf({ a: ["0000000000"], b: ["1111100000"] }))[1]?.paired;
    const three = rowsOf(sweepOf({ a: Array(3).fill("0000000000"), b: Array(3).fill("1111100000") }))[1]?.paired;
    expect(three?.p).toBeCloseTo(one?.p ?? 0, 12);
    expect(three).toMatchObject({ onlyMethod: 15, verdict: "inside the noise" });
  });

  it("calls a method better only where every seed agrees and all methods of the table are allowed for", () => {
    const rows = rowsOf(
      sweepOf({
        lora: [zeros, zeros],
        milora: [better, better],
        dora: [better, zeros],
        bitfit: [five, six],
        ia3: [six, five],
      }),
    );
    const paired = rows.flatMap((row) => (row.paired === null ? [] : [row.paired]));
    expect(paired.map(({ verdict }) => verdict)).toEqual(["better", ...Array(3).fill("inside the noise")]);
    const raw = paired.map(({ p }) => p);
    expect(paired.map(({ adjustedP }) => adjustedP)).toEqual(holmAdjusted(raw));
    // One seed of dora shows nothing, so its small p does not count; bitfit's p alone would count, its adjusted one not.
    expect(paired[1]?.adjustedP).toBeLessThan(0.05);
    expect(raw[2]).toBeLessThan(0.05);
    expect(paired[2]?.adjustedP).toBeGreaterThan(0.05);
  });

  it("compares with the reference that the spec names, else with the first row", () => {
    const answers = { lora: [zeros], milora: [better] };
    const [lora, milora] = rowsOf(sweepOf(answers, "milora"));
    expect(lora?.paired).toMatchObject({ reference: "milora", difference: -0.6, verdict: "worse" });
    expect(milora?.paired).toBeNull();
    expect(sweepTables(sweepOf(answers, "gone").record)[0]?.reference).toBe("lora");
  });

  it("leaves out seeds that one of the two has no result of, or whose result was made otherwise", () => {
    const sweep = sweepOf({ lora: [zeros, null, zeros], milora: [better, better, better] });
    const { record, results } = sweep;
    const other = madeUpResult(better, { protocol: "another way" });
    const [, milora] = rowsOf({ record, results: new Map([...results, ["milora-2", [other]]]) });
    expect(milora?.paired?.seeds.map(({ seed }) => seed)).toEqual([0]);
    const none = rowsOf({ record, results: new Map() });
    expect(none.map(({ paired }) => paired)).toEqual([null, null]);
  });

  it("reads records of older versions, which name no reference", () => {
    const { record } = sweepOf({ lora: [zeros] });
    expect(record.reference).toBeNull();
  });
});

describe("the written comparisons", () => {
  const { record, results } = sweepOf({ "a|b": [zeros, zeros], milora: [better, better.slice(1).padEnd(20, "0")] });

  it("Markdown has a table of its own, and says how to read it only where there is one", () => {
    const text = sweepMarkdown(record, sweepTables(record, results));
    expect(text).toContain("### Against a|b, row by row");
    expect(text).toMatch(
      /\| milora \| 0: \+60\.0 \(\+\d+\.\d to \+\d+\.\d, p 0\.0005\); 1: \+55\.0 \(.*\) \| \+57\.5 \(\+55\.0 to \+60\.0\) \| 23 \| 0 \| 0\.0005 \| 0\.0005 \| better \|/,
    );
    expect(text).toContain("after Holm");
    expect(sweepMarkdown(record, sweepTables(record))).not.toContain("row by row");
    expect(sweepMarkdown(record, sweepTables(record))).not.toContain("after Holm");
  });

  it("CSV has the figures in columns of their own, empty for the reference", () => {
    const [head = "", reference = "", milora = ""] = sweepCsv(sweepTables(record, results)).split("\n");
    const cells = new Map(head.split(",").map((name, index) => [name, milora.split(",")[index]]));
    expect(cells.get("reference")).toBe("a|b");
    expect(Number(cells.get("paired_difference"))).toBeCloseTo(0.575, 12);
    expect([cells.get("only_method"), cells.get("only_reference")]).toEqual(["23", "0"]);
    expect(cells.get("paired_verdict")).toBe("better");
    expect(reference.split(",")).toHaveLength(head.split(",").length);
    expect(reference.endsWith(",,,,,,,,,,")).toBe(true);
  });
});
