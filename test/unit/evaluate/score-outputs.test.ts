import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { chooseBySum, chooseNormalized } from "../../../ts/evaluate/choose.js";
import { readSavedOutputs, scoreOutputs } from "../../../ts/evaluate/score-outputs.js";
import { arcEasy } from "../../../ts/tasks/arc-easy.js";
import { smartHome } from "../../../ts/tasks/smart-home/task.js";
import { wilsonInterval } from "../../../ts/util/statistics.js";
import { temporaryFolder } from "../../support/temporary-folder.js";
import { rejectionOf } from "../../support/thrown.js";

describe("scoreOutputs", () => {
  const outputs = [
    { output: "not answer1 but answer3", answer: "answer3" },
    { output: "answer12", answer: "Answer1" },
    { output: "a cork", answer: "answer2", choices: ["iron", "a cork"] },
    { output: "answer1", answer: "answer2" },
  ];

  test("robust", () => {
    const scored = scoreOutputs({ task: arcEasy, outputs });
    expect(scored.read).toEqual(["answer3", null, "answer2", "answer1"]);
    expect(scored).toMatchObject({ accuracy: 0.5, correct: 2, total: 4, unparsed: 1, majority: 0.5 });
    // Three outputs by the task's four choices, one by its own two.
    expect(scored).toMatchObject({ task: "arc-easy", version: 1, reader: "robust", chance: (3 / 4 + 1 / 2) / 4 });
    expect(scored.interval).toEqual(wilsonInterval(2, 4));
  });

  test("compat", () => {
    const scored = scoreOutputs({ task: arcEasy, outputs, reader: "compat" });
    expect(scored.read).toEqual(["answer1", "answer1", null, "answer1"]);
    expect(scored).toMatchObject({ correct: 1, unparsed: 1 });
  });

  test("saved answers of smart-home may be written in any order of keys", () => {
    const scored = scoreOutputs({
      task: smartHome,
      outputs: [{ output: '[{"call":"x","a":1}]', answer: '[{"a": 1, "call": "x"}]' }],
    });
    expect(scored.correct).toBe(1);
  });
});

describe("readSavedOutputs", () => {
  test("reads lines and names the one that is wrong", async () => {
    const file = join(await temporaryFolder(), "outputs.jsonl");
    await writeFile(file, '{"output":"a","answer":"b"}\r\n\r\n{"output":"","answer":"c","choices":["d"]}\n');
    expect(await readSavedOutputs(file)).toEqual([
      { output: "a", answer: "b" },
      { output: "", answer: "c", choices: ["d"] },
    ]);
    await writeFile(file, '{"output":"a","answer":"b"}\n{"output":1}\n');
    const error = await rejectionOf(readSavedOutputs(file), "data/bad-row");
    expect(error).toMatchObject({ file, line: 2 });
    expect(error.allowed).toContain("output must be text");
    await writeFile(file, "\n");
    await rejectionOf(readSavedOutputs(file), "data/empty");
    await writeFile(
      file,
      Buffer.concat([Buffer.from('{"output":"a","answer":"b"}\n{"output":"'), Buffer.from([0xff])]),
    );
    expect(await rejectionOf(readSavedOutputs(file), "data/bad-row")).toMatchObject({ file, line: 2 });
    await writeFile(file, "{");
    await rejectionOf(readSavedOutputs(file), "data/bad-row");
  });
});

test("choosing: the first of equals, NaN never, characters without the leading space", () => {
  const of = (...values: readonly number[]) => values.map((logLikelihood) => ({ logLikelihood, tokens: 1 }));
  expect(chooseBySum(of(-2, -1, -1))).toBe(1);
  expect(chooseBySum(of(Number.NaN, -5))).toBe(1);
  expect(chooseBySum(of(Number.NaN))).toBe(-1);
  // −2/1 against −3/2: with the space counted it would be −2/2 against −3/3, a tie.
  expect(chooseNormalized(of(-2, -3), [" a", " bc"])).toBe(1);
  // A character outside the basic plane counts once: −2/1 against −1.5/1, not −2/2.
  expect(chooseNormalized(of(-2, -1.5), ["👍", "b"])).toBe(1);
});
