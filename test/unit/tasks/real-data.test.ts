import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { aqua } from "../../../ts/tasks/aqua.js";
import { bbh } from "../../../ts/tasks/bbh.js";
import { compatLetter } from "../../../ts/tasks/readers/compat.js";
import { readLetter } from "../../../ts/tasks/readers/letter.js";
import { listTasks, taskByName } from "../../../ts/tasks/registry.js";
import type { SplitName } from "../../../ts/tasks/task.js";
import { hasRealData, realDataDir, realDataNote } from "../../support/real-data.js";
import { rejectionOf } from "../../support/thrown.js";

const letters = ["A", "B", "C", "D", "E"];

/**
 * Rows of ../shared/data/aqua/test.jsonl, from 0, whose rationale states no letter: nine end in a result ("= 400",
 * "33 seconds"), 103 in "ANSWER: 3", 196 in a sentence without one.
 */
const withoutLetter = [43, 50, 70, 87, 99, 103, 130, 171, 184, 186, 196];

const load = async (name: string, split: SplitName = "test") =>
  await taskByName(name).load({ dir: realDataDir, split });

describe.skipIf(!hasRealData)(`the real files${realDataNote}`, () => {
  test("hold the rows that the paper names", async () => {
    const listed = await listTasks({ dir: realDataDir });
    const rows = Object.fromEntries(listed.map((task) => [task.task, task.rows]));
    expect(rows).toMatchObject({
      "arc-easy": { train: 2251, test: 2376 },
      "arc-challenge": { train: 1119, test: 1172 },
      openbookqa: { train: 4957, test: 500 },
      boolq: { train: 9427, test: 3270 },
      "boolq-passage": { train: null, test: null },
      piqa: { test: 1838 },
      aqua: { dev: 254, test: 254 },
      gsm8k: { train: 7473, test: 1319 },
      mmlu: { test: 14_042 },
      bbh: { test: 6511 },
      "mt-bench": { test: 80 },
      alpaca: { train: 999 },
    });
  });

  test.each(["arc-easy", "arc-challenge", "openbookqa"])(
    "%s: every row's choices, put together again, give its instruction",
    async (name) => {
      const task = taskByName(name);
      const squeezed = (text: string): string => text.replaceAll(/\s+/g, " ");
      const isWhole = (row: unknown): boolean => {
        const text = task.render(row, "choice-text");
        const label = task.render(row, "choice-label");
        const parts = text.choices?.map((choice, index) => `Answer${index + 1}:${choice}`).join(" ") ?? "?";
        return (
          squeezed(label.prompt).includes(squeezed(parts)) &&
          label.prompt.includes(text.prompt.slice("Question: ".length, -"\nAnswer:".length))
        );
      };
      for (const split of task.splits) {
        const rows = await task.load({ dir: realDataDir, split });
        expect(rows.filter((row) => !isWhole(row))).toEqual([]);
      }
    },
  );

  test.each(["arc-easy", "arc-challenge", "openbookqa", "boolq", "piqa", "aqua", "gsm8k", "mmlu", "bbh"])(
    "%s: every target is read as the right answer, under every template",
    async (name) => {
      const task = taskByName(name);
      const rows = await load(name);
      for (const template of task.templates) {
        const misread = rows.filter((row) => {
          // Two choices with one text can't be told apart by it: the first is read.
          const { answer, choices = [] } = task.render(row, template);
          const twice = choices.filter((choice) => choice.trim() === answer.trim()).length > 1;
          return !twice && task.read(answer, row, "robust", template).answer !== task.correct(row);
        });
        expect([template, misread]).toEqual([template, []]);
      }
    },
  );

  test("boolq's majority is the paper's 62.2 %, always-A on aqua 24.8 % (test)", async () => {
    const share = async (name: string, answer: string): Promise<string> => {
      const rows = await load(name);
      return ((100 * rows.filter((row) => taskByName(name).correct(row) === answer).length) / rows.length).toFixed(1);
    };
    expect(await share("boolq", "true")).toBe("62.2");
    expect(await share("aqua", "A")).toBe("24.8");
  });

  test("boolq-passage says which form it needs", async () => {
    const error = await rejectionOf(load("boolq-passage"), "input/missing-file");
    expect(error.allowed).toContain('"passage"');
    expect(error.hint).toContain("dev.jsonl");
  });

  test("aqua: the letter is read in each of the 243 rationales that state one, in no other", async () => {
    const rows = await aqua.load({ dir: realDataDir, split: "test" });
    const read = rows.map(({ rationale }) => readLetter(rationale, letters));
    expect(read.flatMap((letter, index) => (letter === null ? [index] : []))).toEqual(withoutLetter);
    expect(rows.filter(({ answer }, index) => read[index] === answer)).toHaveLength(243);
    expect(rows.filter(({ rationale, answer }) => compatLetter(rationale, letters) === answer)).toHaveLength(78);
  });

  test("bbh's chance is that of its rows, and their targets are read by its authors' rule too", async () => {
    const rows = await bbh.load({ dir: realDataDir, split: "test" });
    const sum = rows.reduce((total, row) => total + (bbh.chanceOf?.(row) ?? 0), 0);
    expect(sum / rows.length).toBeCloseTo(bbh.chance, 4);
    const misread = rows.filter((row) => {
      const { answer } = bbh.render(row, "chain-of-thought");
      return bbh.read(answer, row, "compat").answer !== bbh.correct(row);
    });
    expect(misread).toEqual([]);
  });
});

const outputsFile = join(realDataDir, "aqua", "test.json");
const hasOutputs = existsSync(outputsFile);
const outputsNote = hasOutputs ? "" : " (skipped: ../shared/data/aqua has no test.json of LLM-Adapters)";

test.skipIf(!hasOutputs)(
  `LLM-Adapters' AQuA outputs: 252 state a letter, 123 the right one; the old rule gives 109${outputsNote}`,
  async () => {
    const { readTaskRows } = await import("../../../ts/tasks/data-files.js");
    const { z } = await import("zod");
    const rows = await readTaskRows(outputsFile, z.object({ output: z.string(), answer: z.string() }));
    const read = rows.map(({ output }) => readLetter(output, letters));
    const old = rows.map(({ output }) => compatLetter(output, letters));
    expect(read.filter((letter) => letter !== null)).toHaveLength(252);
    expect(rows.filter(({ answer }, index) => read[index] === answer)).toHaveLength(123);
    expect(rows.filter(({ answer }, index) => old[index] === answer)).toHaveLength(109);
  },
);
