import { describe, expect, test } from "vitest";
import { scoreOutputs } from "../../../ts/evaluate/score-outputs.js";
import { taskByName } from "../../../ts/tasks/registry.js";
import { madeUpData } from "../../support/made-up-tasks.js";

/** Trap 21: the faults that LLM-Adapters' rules really made. Task, output, what `robust` reads, what `compat` reads. */
const traps = [
  ["aqua", "Answer: B", "B", "A"],
  ["aqua", "Because the train is faster, (D)", "D", "B"],
  ["aqua", "Each of them is half of it (A)", "A", "E"],
  ["mmlu", "Answer: B", "B", "A"],
  ["gsm8k", "The answer is 1/2.", "0.5", "2"],
  ["gsm8k", "576. Check: 24*24", "576", "24"],
  ["boolq", "True", "true", null],
  ["boolq", "untrue", null, "true"],
  ["arc-easy", "Answer2", "answer2", null],
  ["arc-easy", "answer12", null, "answer1"],
  ["arc-easy", "not answer1 but answer3", "answer3", "answer1"],
  ["piqa", "Solution2", "solution2", null],
  ["piqa", "solution12", null, "solution1"],
] as const;

test.each(traps)("%s: %j is %s for robust, %s for compat", (name, output, robust, compat) => {
  const task = taskByName(name);
  const four = ["w", "x", "y", "z"];
  expect(task.readOutput(output, { reader: "robust", choices: four }).answer).toBe(robust);
  expect(task.readOutput(output, { reader: "compat", choices: four }).answer).toBe(compat);
});

/** The made-up test rows of a task. */
const rowsOf = async (name: string) => await taskByName(name).load({ dir: await madeUpData(), split: "test" });

const readings = [
  ["arc-easy", "letter", " B", "answer2"],
  ["arc-easy", "letter", "The answer is (a).", "answer1"],
  ["arc-easy", "letter", "C", null],
  ["arc-easy", "choice-text", " A Cork Belt.", "answer1"],
  ["arc-easy", "choice-text", "B", null],
  ["piqa", "letter", "B. It says so", "solution2"],
  ["boolq", "letter", " A", "true"],
  ["boolq", "choice-text", " no", "false"],
  ["boolq", "choice-label", "the correct answer is false", "false"],
  ["boolq-passage", "choice-text", " yes\nQuestion: and quilps?\nAnswer: no", "true"],
  ["aqua", "rationale", "6 / 2 = 3, so A is too low.\nanswer = B", "B"],
  ["aqua", "rationale", "3 m/s", "B"],
  ["aqua", "letter", " E", "E"],
  ["gsm8k", "rationale", " She has 12.\n#### 12\n\nQuestion: Ann has 99\nAnswer: 99", "12"],
  ["mmlu", "letter", " B\n\nWhat is next?", "B"],
  ["mmlu", "choice-text", ' two, or "2"', "B"],
  ["mmlu", "choice-text", "something else (A)", null],
] as const;

test.each(readings)("%s, template %s: %j is %s", async (name, template, output, expected) => {
  const [row] = await rowsOf(name);
  expect(taskByName(name).read(output, row, "robust", template).answer).toBe(expected);
});

describe("bbh", () => {
  const outputs = [
    ["boolean_expressions", "not True is False. So the answer is False.", "False", "False"],
    ["boolean_expressions", "false", "False", "false"],
    ["causal_judgement", "So the answer is No.\n\nQ: and?\nA: So the answer is Yes.", "No", "Yes"],
    ["date_understanding", "It is (A) or (B). So the answer is (B).", "(B)", "(B)"],
    ["date_understanding", "Not (A), so (C)", "(C)", "(A)"],
    ["date_understanding", "So the answer is (D).", null, "(D)"],
    ["dyck_languages", "We need them. So the answer is )  ].", ") ]", ")  ]"],
    ["formal_fallacies", "Hence it is not valid but invalid.", "invalid", "Hence it is not valid but invalid"],
    ["multistep_arithmetic_two", "-2 * 2 = -4. So the answer is -4.", "-4", "-4"],
    ["object_counting", "So the answer is 7 zorbs.", "7", "7 zorbs"],
    ["sports_understanding", "So the answer is yes.", "yes", "yes"],
    ["word_sorting", "So the answer is ant zorb.", "ant zorb", "ant zorb"],
    ["word_sorting", "ant zorb", null, "ant zorb"],
  ] as const;

  test.each(outputs)("%s: %j is %s for robust, %s by its authors' rule", async (name, output, robust, compat) => {
    const bbh = taskByName("bbh");
    const rows = await rowsOf("bbh");
    const row = rows.find((example) => bbh.groupsOf?.(example)["tasks"] === name);
    expect(bbh.read(output, row, "robust").answer).toBe(robust);
    expect(bbh.read(output, row, "compat").answer).toBe(compat);
  });

  test("chance follows the options", async () => {
    const bbh = taskByName("bbh");
    const rows = await rowsOf("bbh");
    const chances = new Map(rows.map((row) => [bbh.groupsOf?.(row)["tasks"], bbh.chanceOf?.(row)]));
    expect(chances.get("date_understanding")).toBeCloseTo(1 / 3);
    expect(chances.get("navigate")).toBe(0.5);
    expect(chances.get("word_sorting")).toBe(0);
  });
});

test("saved outputs are scored without a model, by both readers", () => {
  const outputs = [
    { output: "Answer: B", answer: "B" },
    { output: "It is 12, so (D)", answer: "(D)" },
    { output: "who knows", answer: "A" },
  ];
  const task = taskByName("aqua");
  expect(scoreOutputs({ task, outputs })).toMatchObject({ correct: 2, total: 3, unparsed: 1, read: ["B", "D", null] });
  expect(scoreOutputs({ task, outputs, reader: "compat" })).toMatchObject({ correct: 1, read: ["A", "D", null] });
  const numbers = [{ output: "So 1,234.50 in all", answer: "1234.5" }];
  expect(scoreOutputs({ task: taskByName("gsm8k"), outputs: numbers }).correct).toBe(1);
  const stated = [{ output: "Thus the answer is (B).", answer: "(B)" }];
  expect(scoreOutputs({ task: taskByName("bbh"), outputs: stated }).correct).toBe(1);
});

describe("targets of reasoned answers", () => {
  test("a rationale that states another answer is not taught", () => {
    const example = { question: "q", choices: ["1", "2"], rationale: "So the answer is A.", answer: "B" };
    expect(taskByName("aqua").render(example, "instruction").answer).toBe("The answer is (B).");
    const silent = { ...example, rationale: "One and one." };
    expect(taskByName("aqua").render(silent, "instruction").answer).toBe("One and one.\nThe answer is (B).");
    expect(taskByName("aqua").render({ ...example, rationale: "" }, "instruction").answer).toBe("The answer is (B).");
  });
});
