import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Agreement, compareCase } from "../../scripts/lib/lm-eval/agreement.js";
import { agreementCases } from "../../scripts/lib/lm-eval/cases.js";
import { isSameText, likelihoodFigures, tolerance } from "../../scripts/lib/lm-eval/compare.js";
import { explainedDifferences } from "../../scripts/lib/lm-eval/differences.js";
import { type Harness, openHarness } from "../../scripts/lib/lm-eval/harness.js";
import { comparedMetrics, otherOutcomes } from "../../scripts/lib/lm-eval/outcomes.js";
import { openOurs, type Ours } from "../../scripts/lib/lm-eval/ours.js";
import { madeUpData } from "../support/made-up-tasks.js";
import { hasRealData, realDataDir, realDataNote } from "../support/real-data.js";
import { temporaryFolder } from "../support/temporary-folder.js";

const python = process.env["MILORA_PYTHON"] ?? "python3";
const model = "smollm2-135m";

let ours: Ours;
let harness: Harness;

beforeAll(async () => {
  ours = await openOurs({ python, model });
  harness = openHarness({ python, base: ours.base });
});

afterAll(async () => {
  await ours[Symbol.asyncDispose]();
  await harness[Symbol.asyncDispose]();
});

const compare = async (
  name: string,
  options: { readonly limit: number; readonly dir?: string; readonly out?: string; readonly ours?: Ours },
): Promise<Agreement> => {
  const of = agreementCases.find(({ task }) => task.name === name);
  if (of === undefined) throw new Error(`there is no case ${name}`);
  const out = options.out ?? (await temporaryFolder());
  return compareCase(of, { ours, harness, dir: realDataDir, maxNewTokens: 16, identity: { model }, ...options, out });
};

const likelihoodsOf = ({ records }: Agreement) => records.filter((record) => record.kind === "likelihoods");

const expectAgreement = (agreement: Agreement, limit: number): void => {
  const figures = likelihoodFigures(likelihoodsOf(agreement));
  expect(figures).toMatchObject({ rows: limit, sameBySum: limit, sameByLength: limit, above: 0, otherTokens: 0 });
  expect(figures.largest).toBeLessThanOrEqual(tolerance);
};

/** The harness' own task asks in the same words and counts the same rows as right. */
const expectSameTask = (agreement: Agreement, limit: number, metrics: readonly string[]): void => {
  expect(agreement.words).toMatchObject({ rows: limit, same: limit });
  const compared = comparedMetrics(agreement);
  expect(compared.map(({ name, outcomes }) => [name, outcomes.length])).toEqual(metrics.map((name) => [name, limit]));
  expect(compared.flatMap(otherOutcomes)).toEqual([]);
};

describe.skipIf(!hasRealData)(`lm-evaluation-harness on the same rows${realDataNote}`, () => {
  it.each([
    { name: "arc-easy", limit: 6, metrics: ["acc", "acc_norm"] },
    { name: "piqa", limit: 4, metrics: ["acc", "acc_norm"] },
    { name: "mmlu-marketing", limit: 3, metrics: ["acc"] },
  ])("$name: the same words, log-likelihoods, choices and right rows", async ({ name, limit, metrics }) => {
    const agreement = await compare(name, { limit });
    expectAgreement(agreement, limit);
    expectSameTask(agreement, limit, metrics);
  });

  it("boolq without its passage: the same log-likelihoods; the harness has no such task", async () => {
    const agreement = await compare("boolq", { limit: 4 });
    expectAgreement(agreement, 4);
    expect(agreement.words).toBeUndefined();
  });

  it("gsm8k with five shots: the same words and the same greedy text", async () => {
    const agreement = await compare("gsm8k", { limit: 2 });
    const { words, records, stops } = agreement;
    // As it stands, the harness draws other shots.
    expect(words).toMatchObject({ rows: 2, same: 2, sameUnchanged: 0 });
    expect(stops).toContain("Question:");
    const texts = records.filter((record) => record.kind === "texts");
    expect(texts.map((record) => isSameText(record, stops))).toEqual([true, true]);
    expect(texts.every(({ harness: text }) => text.trim() !== "")).toBe(true);
  });
});

describe("lm-evaluation-harness on made-up rows", () => {
  it("a prompt that ends in a line break: the harness counts it to each choice, and nothing else differs", async () => {
    const agreement = await compare("arc-easy-choice-label", { limit: 2, dir: await madeUpData() });
    const figures = likelihoodFigures(likelihoodsOf(agreement));
    expect(figures).toMatchObject({ rows: 2, above: 2, sameBySum: 2, otherTokens: 4 });
    const lines = await explainedDifferences(agreement, { ours, harness });
    expect(lines).toHaveLength(2);
    for (const line of lines) {
      expect(line).toContain(String.raw`the prompt's last "\n"`);
      expect(Number(line.split("without it ")[1])).toBeLessThanOrEqual(tolerance);
    }
  });

  it("boolq with its passage; a second run computes nothing anew", async () => {
    const dir = await madeUpData();
    const out = await temporaryFolder();
    const agreement = await compare("boolq-passage", { limit: 2, dir, out });
    expectAgreement(agreement, 2);
    expectSameTask(agreement, 2, ["acc"]);
    const evaluate = async () => Promise.reject(new Error("computed anew"));
    const again = await compare("boolq-passage", { limit: 2, dir, out, ours: { ...ours, evaluate } });
    expect(again.records).toEqual(agreement.records);
  });
});
