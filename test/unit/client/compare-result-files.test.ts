import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { compareResultFiles } from "../../../ts/client/offline.js";
import { madeUpResult } from "../../support/results.js";
import { temporaryFolder } from "../../support/temporary-folder.js";
import { rejectionOf } from "../../support/thrown.js";

const record = {
  model: "m",
  adapter: "a",
  seed: 0,
  trainingSeed: 3,
  device: "cpu",
  dtype: "float32",
  versions: { milora: "0" },
  date: "2026-01-02T03:04:05.000Z",
};
const weak = madeUpResult("1100000000");
const strong = madeUpResult("1011111111", { record });
const other = { task: "other", protocol: "other" };

/** A folder with a file of `eval --outputs`, a run's folder, and what a program wrote by mistake. */
const places = async () => {
  const root = await temporaryFolder();
  const run = join(root, "run");
  await mkdir(join(run, "results"), { recursive: true });
  const write = async (name: string, value: unknown): Promise<string> => {
    await writeFile(join(root, name), JSON.stringify(value));
    return join(root, name);
  };
  await write("run/results/toy-generate.json", strong);
  await write("run/results/toy-generate-compat.json", { ...strong, reader: "compat" });
  await write("run/results/other-generate.json", { ...strong, ...other });
  const outputs = await write("outputs.json", { results: [weak, { ...weak, ...other }] });
  return { root, run, outputs, write };
};

describe("compareResultFiles", () => {
  test("pairs a file of several results with a run's folder by task, scorer and reader", async () => {
    const { run, outputs } = await places();
    const compared = await compareResultFiles({ first: outputs, second: run });
    expect(compared.map(({ task, difference }) => [task, difference])).toEqual([
      ["toy", 0.7],
      ["other", 0.7],
    ]);
    expect(compared[0]?.first.record).toBeNull();
    expect(compared[0]?.second.record).toEqual(record);
    const [one, ...rest] = await compareResultFiles({ first: outputs, second: run, tasks: ["other"] });
    expect([one?.task, rest]).toEqual(["other", []]);
  });

  test("two single results are compared whatever they are called, so that what differs is told", async () => {
    const { run, write } = await places();
    const first = await write("weak.json", weak);
    const second = join(run, "results", "toy-generate.json");
    expect(await compareResultFiles({ first, second })).toHaveLength(1);
    const label = await write("label.json", { ...weak, scorer: "label", reader: undefined });
    const error = await rejectionOf(compareResultFiles({ first, second: label }), "input/invalid-spec");
    expect(error.problems).toEqual(['scorer: "generate" in the first, "label" in the second']);
  });

  test("one pair that can't be compared refuses all, and the tasks chosen need not have it", async () => {
    const { run, write } = await places();
    const judged = { ...weak, ...other, accuracy: null, unscored: 10 };
    const first = await write("judged.json", { results: [weak, judged] });
    await rejectionOf(compareResultFiles({ first, second: run }), "input/invalid-spec");
    expect(await compareResultFiles({ first, second: run, tasks: ["toy"] })).toHaveLength(1);
  });

  test("nothing in common, no results, no file, no result file", async () => {
    const { root, run, outputs, write } = await places();
    const lone = await write("lone.json", { results: [{ ...weak, task: "lone" }] });
    const error = await rejectionOf(compareResultFiles({ first: lone, second: outputs }), "input/invalid-spec");
    expect(error.found).toBe("lone-generate in the first, toy-generate, other-generate in the second");
    await rejectionOf(compareResultFiles({ first: run, second: outputs, tasks: ["x"] }), "input/invalid-spec");
    const none = await rejectionOf(compareResultFiles({ first: root, second: run }), "input/missing-file");
    expect(none).toMatchObject({ file: root, found: "no results/*.json" });
    await rejectionOf(compareResultFiles({ first: join(root, "x.json"), second: run }), "input/missing-file");
    const wrong = await write("wrong.json", { results: [{ task: "toy" }] });
    expect((await rejectionOf(compareResultFiles({ first: wrong, second: run }), "input/invalid-spec")).file).toBe(wrong);
  });
}); // prettier-ignore
