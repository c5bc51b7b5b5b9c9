import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { arcEasy } from "../../../ts/tasks/arc-easy.js";
import { parseChoiceInstruction } from "../../../ts/tasks/llm-adapters-choices.js";
import { listTasks, taskByName, tasks } from "../../../ts/tasks/registry.js";
import { taskRows, templateHash, templateOf } from "../../../ts/tasks/task.js";
import { temporaryFolder } from "../../support/temporary-folder.js";
import { errorOf, rejectionOf } from "../../support/thrown.js";

const instruction =
  "Please choose the correct answer to the question: What floats?\n\n" +
  "Answer1: iron Answer2: a cork. Answer3: Answer1: and Answer2: both\n\nAnswer format: answer1/answer2/answer3";
const example = { instruction, question: "What floats?", choices: ["iron", "a cork.", "both"], answer: "answer2" };

const dataFolder = async (items: unknown): Promise<string> => {
  const dir = await temporaryFolder();
  await mkdir(join(dir, "arc-easy"));
  await writeFile(join(dir, "arc-easy", "test.json"), JSON.stringify(items));
  return dir;
};

describe("parseChoiceInstruction", () => {
  test("cuts the choices out, also where a choice names other markers", () => {
    expect(parseChoiceInstruction(instruction)).toEqual({
      question: "What floats?",
      choices: ["iron", "a cork.", "Answer1: and Answer2: both"],
    });
  });

  test("a question that itself has blank lines stays whole", () => {
    const long = instruction.replace("What floats?", "Two things.\n\nAnswer2: is not one.\n\nWhich?");
    expect(parseChoiceInstruction(long)?.question).toBe("Two things.\n\nAnswer2: is not one.\n\nWhich?");
    expect(parseChoiceInstruction(long)?.choices[0]).toBe("iron");
  });

  test.each([
    "",
    "What floats?",
    instruction.replace("Answer2:", "Answer:"),
    instruction.replace("iron ", ""),
    instruction.replace("answer1/answer2/answer3", "true/false"),
  ])("%j is none", (text) => {
    expect(parseChoiceInstruction(text)?.choices[1] ?? "none").toBe("none");
  });
});

describe("templates", () => {
  test("choice-text is the default: question, then the text of the right choice", () => {
    expect(templateOf(arcEasy, undefined)).toBe("choice-text");
    expect(arcEasy.render(example, "choice-text")).toEqual({
      prompt: "Question: What floats?\nAnswer:",
      answer: " a cork.",
      choices: [" iron", " a cork.", " both"],
      choiceLabels: ["answer1", "answer2", "answer3"],
    });
  });

  test("choice-label is LLM-Adapters' form", () => {
    const rendered = arcEasy.render(example, "choice-label");
    expect(rendered.prompt).toContain(`### Instruction:\n${instruction}\n\n### Response:\n`);
    expect(rendered.answer).toBe("the correct answer is answer2");
    expect(rendered.choices?.[1]).toBe(rendered.answer);
  });

  test("have hashes of their own; an unknown one says what was meant", () => {
    expect(templateHash(arcEasy, "choice-text")).toMatch(/^[0-9a-f]{12}$/);
    expect(templateHash(arcEasy, "choice-text")).not.toBe(templateHash(arcEasy, "choice-label"));
    expect(errorOf(() => templateOf(arcEasy, "choice-txt"), "input/unknown-name").message).toContain(
      'did you mean "choice-text"?',
    );
  });

  test("taskRows gives training rows", () => {
    expect(taskRows(arcEasy, [example], "choice-text")).toEqual({
      rows: [{ prompt: "Question: What floats?\nAnswer:", answer: " a cork." }],
      chat: false,
    });
  });
});

describe("reading", () => {
  test.each([
    [" a cork", "answer2"],
    ["A cork.\nQuestion: What sinks?", "answer2"],
    ["the correct answer is answer3", "answer3"],
    ["something else", null],
    ["answer4", null],
  ])("%j is %s", (output, expected) => {
    expect(arcEasy.read(output, example, "robust").answer).toBe(expected);
  });

  test("compat takes the first label anywhere", () => {
    expect(arcEasy.read("not answer1 but answer3", example, "compat").answer).toBe("answer1");
    expect(arcEasy.read("a cork", example, "compat").answer).toBeNull();
  });
});

describe("loading", () => {
  test("a row in another form names file, item and form", async () => {
    const dir = await dataFolder([
      { instruction, answer: "answer2" },
      { instruction: "What?", answer: "answer1" },
    ]);
    const error = await rejectionOf(arcEasy.load({ dir, split: "test" }), "data/bad-row");
    expect(error).toMatchObject({ file: join(dir, "arc-easy", "test.json"), path: "[1].instruction" });
  });

  test("an answer that no choice has", async () => {
    const dir = await dataFolder([{ instruction, answer: "answer4" }]);
    const error = await rejectionOf(arcEasy.load({ dir, split: "test" }), "data/bad-row");
    expect(error.allowed).toBe("answer1 to answer3");
  });

  test("no folder, and a folder without the task, say where the files come from", async () => {
    expect((await rejectionOf(arcEasy.load({ split: "test" }), "input/missing-file")).hint).toContain("LLM-Adapters");
    const dir = await temporaryFolder();
    const error = await rejectionOf(arcEasy.load({ dir, split: "train" }), "input/missing-file");
    expect(error.file).toBe(join(dir, "arc-easy"));
  });

  test("a split that a task does not have", async () => {
    await rejectionOf(arcEasy.load({ dir: "x", split: "dev" }), "input/unknown-name");
  });
});

describe("registry", () => {
  test("finds tasks by name and guesses at others", () => {
    expect(taskByName("arc-easy")).toBe(arcEasy);
    expect(errorOf(() => taskByName("arc-esy"), "input/unknown-name").message).toContain('did you mean "arc-easy"?');
    errorOf(() => taskByName("toString"), "input/unknown-name");
    for (const [name, task] of Object.entries(tasks)) expect(task.name).toBe(name);
  });

  test("lists rows as null without data", async () => {
    const listed = await listTasks();
    expect(listed.find(({ task }) => task === "arc-easy")).toEqual({
      task: "arc-easy",
      rows: { train: null, test: null },
      duplicates: null,
      chance: 0.25,
      templates: ["choice-text", "choice-label", "letter"],
      scorers: ["generate", "label", "loglik"],
      version: 1,
      license: "CC BY-SA 4.0",
      origin: arcEasy.origin,
    });
    expect(listed.find(({ task }) => task === "smart-home")?.rows).toEqual({ train: 2400, test: 200 });
  });
});
