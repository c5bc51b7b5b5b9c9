import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { MiloraError } from "../../../ts/errors.js";
import { readerNames } from "../../../ts/tasks/readers/reader.js";
import { listTasks, taskByName } from "../../../ts/tasks/registry.js";
import type { SplitName } from "../../../ts/tasks/task.js";
import { cpuTimer } from "../../support/timing.js";
import { dataFolder, madeUpData } from "../../support/made-up-tasks.js";
import { rejectionOf } from "../../support/thrown.js";

const load = async (name: string, dir: string, split: SplitName = "test") =>
  await taskByName(name).load({ dir, split });

const lines = (...rows: readonly unknown[]): string => rows.map((row) => JSON.stringify(row)).join("\n");

const choice = (choices: string, answer?: string) => ({
  instruction: `Please choose the correct answer to the question: Why?\n\n${choices}\n\nAnswer format: answer1/answer2`,
  answer,
});
const solution = (choices: string, answer?: string) => ({
  instruction: `Please choose the correct solution to the question: Why?\n\n${choices}\n\nAnswer format: solution1/solution2`,
  answer,
});
const boolean = (answer?: unknown) => ({
  instruction:
    "Please answer the following question with true or false, question: is it?\n\nAnswer format: true/false",
  answer,
});
const algebra = (options: readonly string[], correct?: string) => ({ question: "1 + 1?", options, correct });

const mmluFolder = (test: string) => ({
  "mmlu/dev/anatomy_dev.csv": "q,a,b,c,d,A\n".repeat(5),
  "mmlu/test/anatomy_test.csv": test,
});
const bbhFolder = (name: string, example: unknown) => ({
  [`bbh/${name}.json`]: { examples: [example] },
  [`bbh/cot-prompts/${name}.txt`]: "mark\n-----\nDo it.",
});
const mtBench = (row: unknown) => ({ "mt-bench/question.jsonl": lines(row) });

/** What is wrong, the task, its files, and what the error must allow and where it must stand. */
const cases: readonly (readonly [string, string, Readonly<Record<string, unknown>>, string, object])[] = [
  ["no answer", "arc-easy", { "arc-easy/test.json": [choice("Answer1: a Answer2: b")] }, "answer1", { path: "[0].answer" }],
  ["an empty answer", "openbookqa", { "openbookqa/test.json": [choice("Answer1: a Answer2: b", "")] }, "answer1 to answer2", {}],
  ["a label outside", "arc-challenge", { "arc-challenge/test.json": [choice("Answer1: a Answer2: b", "answer3")] }, "answer1 to answer2", {}],
  ["an empty choice", "arc-easy", { "arc-easy/test.json": [choice("Answer1:  Answer2: b", "answer2")] }, "no empty choice", {}],
  ["an empty choice", "piqa", { "piqa/test.json": [solution("Solution1: a\n\nSolution2: ", "solution1")] }, "no empty choice", {}],
  ["a label outside", "piqa", { "piqa/test.json": [solution("Solution1: a\n\nSolution2: b", "answer1")] }, "solution1 to solution2", {}],
  ["no answer", "boolq", { "boolq/test.json": [boolean()] }, "true or false", { path: "[0].answer" }],
  ["a label outside", "boolq", { "boolq/test.json": [boolean("maybe")] }, "true or false", {}],
  ["an empty passage", "boolq-passage", { "boolq-passage/test.jsonl": lines({ question: "q", passage: " ", answer: true }) }, "passage's text, not empty", { line: 1, path: "passage" }],
  ["no answer", "boolq-passage", { "boolq-passage/test.jsonl": lines({ question: "q", passage: "p" }) }, "true or false", {}],
  ["no answer", "aqua", { "aqua/test.jsonl": lines(algebra(["A)1", "B)2"], "A"), algebra(["A)1", "B)2"])) }, "A to E", { line: 2, path: "correct" }],
  ["a label outside", "aqua", { "aqua/test.jsonl": lines(algebra(["A)1", "B)2"], "C")) }, "A to B", {}],
  ["an empty choice", "aqua", { "aqua/test.jsonl": lines(algebra(["A)1", "B)"], "A")) }, "none empty", { path: "options" }],
  ["choices out of order", "aqua", { "aqua/test.jsonl": lines(algebra(["B)1", "A)2"], "A")) }, "in order", {}],
  ["an empty choice", "aqua", { "aqua/test.json": [{ instruction: "Why? Answer Choices: (A) 1 (B) ", answer: "A" }] }, "none empty", { path: "[0].instruction" }],
  ["no answer", "gsm8k", { "gsm8k/test.jsonl": lines({ question: "1 + 1?" }) }, "#### N", { line: 1, path: "answer" }],
  ["no number", "gsm8k", { "gsm8k/test.jsonl": lines({ question: "1 + 1?", answer: "two" }) }, "#### N", {}],
  ["no number", "gsm8k", { "gsm8k/test.json": [{ instruction: "1 + 1?", answer: "two" }] }, "a number", {}],
  ["no answer", "mmlu", mmluFolder("q,a,b,c,d,A\nq,a,b,c,d\n"), "six fields", { line: 2 }],
  ["a label outside", "mmlu", mmluFolder("q,a,b,c,d,E\n"), "A to D", { line: 1 }],
  ["an empty choice", "mmlu", mmluFolder('q,a,b,c,d,A\n"q\nmore",a,,c,d,B\n'), "none empty", { line: 2 }],
  ["an open quote", "mmlu", mmluFolder('q,"a,b,c,d,A\n'), "six fields", {}],
  ["no answer", "bbh", bbhFolder("navigate", { input: "Q?" }), "answer's text", { path: "[0].target" }],
  ["a label outside", "bbh", bbhFolder("snarks", { input: "Q?\nOptions:\n(A) a\n(B) b", target: "(C)" }), "(A), (B)", {}],
  ["no examples", "bbh", { ...bbhFolder("snarks", {}), "bbh/snarks.json": {} }, "examples", { path: "examples" }],
  ["one turn", "mt-bench", mtBench({ question_id: 1, category: "math", turns: ["a"] }), "two turns", { path: "turns" }],
  ["an empty turn", "mt-bench", mtBench({ question_id: 1, category: "math", turns: ["a", " "] }), "not empty", {}],
]; // prettier-ignore

describe("malformed rows", () => {
  test.each(cases)("%s in %s", async (_what, name, files, allowed, place) => {
    const error = await rejectionOf(load(name, await dataFolder(files)), "data/bad-row");
    expect(error.allowed).toContain(allowed);
    expect(error.file).toBeDefined();
    expect(error).toMatchObject(place);
  });

  test("an answer that is missing in alpaca", async () => {
    const dir = await dataFolder({ "alpaca/alpaca_data.json": [{ instruction: "Do.", input: "", output: " " }] });
    const error = await rejectionOf(load("alpaca", dir, "train"), "data/bad-row");
    expect(error).toMatchObject({ path: "[0].output" });
  });

  test("all of a file's malformed rows are told at once", async () => {
    const dir = await dataFolder({ "boolq/test.json": [boolean(), boolean("true"), boolean("no"), "text"] });
    const error = await rejectionOf(load("boolq", dir), "data/bad-row");
    expect(error.problems).toHaveLength(3);
    expect(error.message).toContain("item 3");
  });

  test("too few questions to show", async () => {
    const dir = await dataFolder({ ...mmluFolder("q,a,b,c,d,A\n"), "mmlu/dev/anatomy_dev.csv": "q,a,b,c,d,A\n" });
    expect((await rejectionOf(load("mmlu", dir), "data/empty")).found).toBe("1");
  });

  test("a file without rows, a file that is no JSON", async () => {
    await rejectionOf(load("gsm8k", await dataFolder({ "gsm8k/test.jsonl": "\n" })), "data/empty");
    await rejectionOf(load("gsm8k", await dataFolder({ "gsm8k/test.jsonl": "<html>" })), "data/bad-row");
    await rejectionOf(load("bbh", await dataFolder({ "bbh/navigate.json": "{", "bbh/cot-prompts/navigate.txt": "x" })), "input/invalid-spec"); // prettier-ignore
  });
});

describe("bytes and sizes", () => {
  const invalid = (text: string): Uint8Array => Buffer.concat([Buffer.from(text), Buffer.from([0xff, 0xfe, 10])]);
  const binaryCases = [
    ["arc-easy", "arc-easy/test.json", "[\n", 2],
    ["aqua", "aqua/test.jsonl", `${lines(algebra(["A)1", "B)2"], "A"))}\n`, 2],
    ["mmlu", "mmlu/test/anatomy_test.csv", "q,a,b,c,d,A\nq,é,b,c,d,A\n", 3],
    ["mt-bench", "mt-bench/question.jsonl", "", 1],
  ] as const;

  test.each(binaryCases)("%s: bytes that are not UTF-8 are told by line", async (name, file, text, line) => {
    const dir = await dataFolder({ ...mmluFolder(""), [file]: invalid(text) });
    const error = await rejectionOf(load(name, dir), "data/bad-row");
    expect(error).toMatchObject({ file: join(dir, file), line });
    expect(error.found).toContain("UTF-8");
  });

  test("a replacement character that really stands there is text", async () => {
    const dir = await dataFolder({ "gsm8k/test.jsonl": lines({ question: "1 \uFFFD 1?", answer: "#### 2" }) });
    expect(await load("gsm8k", dir)).toHaveLength(1);
  });

  const long = "word ".repeat(20_000).trim();
  const longCases = [
    ["arc-easy", { "arc-easy/test.json": [choice(`Answer1: ${long} Answer2: b`, "answer1")] }],
    ["boolq-passage", { "boolq-passage/test.jsonl": lines({ question: long, passage: long, answer: true }) }],
    ["aqua", { "aqua/test.jsonl": lines({ ...algebra([`A)${long}`, "B)2"], "A"), rationale: `${long} Answer: A` }) }],
    ["gsm8k", { "gsm8k/test.jsonl": lines({ question: long, answer: `${long}\n#### 2` }) }],
    ["mmlu", mmluFolder(`${long},a,b,c,d,A\n`)],
    ["bbh", bbhFolder("word_sorting", { input: long, target: long })],
    ["mt-bench", mtBench({ question_id: 1, category: "math", turns: [long, long] })],
  ] as const;

  test.each(longCases)("%s: a row of 100 kB is rendered whole, in little time", async (name, files) => {
    const task = taskByName(name);
    const dir = await dataFolder(files);
    const spent = cpuTimer();
    const [row] = await load(name, dir);
    for (const template of task.templates.filter((known) => known !== "five-shot")) {
      const { prompt, answer } = task.render(row, template);
      expect(`${prompt}${answer}`.length).toBeGreaterThan(99_000);
    }
    expect(spent()).toBeLessThan(2000);
  });
});

describe("100 kB of one thing", () => {
  const pieces = [
    " ",
    "\n",
    "\n ",
    "\t",
    "?",
    " ?",
    "a ",
    "1,",
    "(A) ",
    "A) ",
    "#### ",
    "Answer1: ",
    "\nAnswer format: ",
  ];
  const forms = (text: string) =>
    [
      ["arc-easy", { "arc-easy/test.json": [choice(`Answer1: a${text} Answer2: b`, "answer1")] }],
      ["arc-easy", { "arc-easy/test.json": [{ instruction: `Please choose ${text}`, answer: "answer1" }] }],
      ["piqa", { "piqa/test.json": [solution(`Solution1: a${text}\n\nSolution2: b`, "solution1")] }],
      ["boolq", { "boolq/test.json": [{ ...boolean("true"), instruction: boolean().instruction.replace("it", text) }] }],
      ["boolq", { "boolq/test.json": [{ ...boolean("true"), instruction: boolean().instruction.replace("it?", `${text}x`) }] }],
      ["boolq-passage", { "boolq-passage/test.jsonl": lines({ question: `a${text}b`, passage: text, answer: true }) }],
      ["aqua", { "aqua/test.jsonl": lines(algebra([`A)${text}`, `B)${text}x`], "A")) }],
      ["aqua", { "aqua/test.json": [{ instruction: `q${text}Answer Choices: (A) 1${text}(B) 2`, answer: "A" }] }],
      ["gsm8k", { "gsm8k/test.jsonl": lines({ question: `a${text}`, answer: `${text}#### 2${text}` }) }],
      ["bbh", bbhFolder("snarks", { input: `a${text}\nOptions:\n(A) a\n(B) b`, target: "(A)" })],
    ] as const; // prettier-ignore

  test.each(pieces)("%j is read or refused in little time, by every task and both readers", async (piece) => {
    const text = piece.repeat(Math.ceil(100_000 / piece.length));
    for (const [name, files] of forms(text)) {
      const task = taskByName(name);
      const dir = await dataFolder(files);
      const spent = cpuTimer();
      const rows = await task.load({ dir, split: "test" }).catch((error: unknown) => {
        if (MiloraError.isInstance(error) && error.code === "data/bad-row") return [];
        throw error;
      });
      for (const row of rows) for (const reader of readerNames) task.read(text, row, reader);
      // What grows with the square of the length takes ten seconds.
      expect([name, spent() < 3000]).toEqual([name, true]);
    }
  });
});

describe("missing files", () => {
  test.each(["arc-easy", "piqa", "boolq", "boolq-passage", "aqua", "gsm8k", "mmlu", "bbh", "mt-bench"])(
    "%s: a folder with no known file tells what it holds, what it should, and where that can be had",
    async (name) => {
      const folder = name === "mmlu" ? "mmlu/test" : name;
      const dir = await dataFolder({ [`${folder}/notes.txt`]: "x", [`${folder}/other.parquet`]: "x" });
      const error = await rejectionOf(load(name, dir), "input/missing-file");
      expect(error.file).toBe(join(dir, folder));
      expect(error.found).toContain("notes.txt, other.parquet");
      expect(error.allowed).toContain(`${folder}/`);
      expect(error.hint).toContain("https://");
    },
  );

  test("no folder of the task, and no data folder at all", async () => {
    const dir = await dataFolder({});
    expect((await rejectionOf(load("gsm8k", dir), "input/missing-file")).found).toBe(
      `there is no ${join(dir, "gsm8k")}`,
    );
    await rejectionOf(taskByName("gsm8k").load({ split: "test" }), "input/missing-file");
  });

  test("boolq-passage with LLM-Adapters' rows names the form that it needs", async () => {
    const dir = await dataFolder({ "boolq/test.json": [boolean("true")] });
    const error = await rejectionOf(load("boolq-passage", dir), "input/missing-file");
    expect(error.message).toContain("no passage");
    expect(error.allowed).toContain('"passage"');
  });

  test("mmlu without its dev set, bbh without its prompts, gsm8k's five-shot without training rows", async () => {
    const mmlu = await dataFolder({ "mmlu/test/anatomy_test.csv": "q,a,b,c,d,A\n" });
    expect((await rejectionOf(load("mmlu", mmlu), "input/missing-file")).allowed).toContain("anatomy_dev.csv");
    const bbh = await dataFolder({ "bbh/snarks.json": { examples: [{ input: "Q?", target: "x" }] } });
    expect((await rejectionOf(load("bbh", bbh), "input/missing-file")).allowed).toContain("snarks.txt");
    const gsm8k = await dataFolder({ "gsm8k/test.jsonl": lines({ question: "1 + 1?", answer: "#### 2" }) });
    const [row] = await load("gsm8k", gsm8k);
    expect(() => taskByName("gsm8k").render(row, "five-shot")).toThrow("needs 5 training rows");
  });
});

test("the list counts rows, and test rows that are training rows too", async () => {
  const listed = await listTasks({ dir: await madeUpData() });
  const byName = new Map(listed.map((task) => [task.task, task]));
  expect(byName.get("arc-easy")).toMatchObject({ rows: { train: 2, test: 2 }, duplicates: 2 });
  expect(byName.get("gsm8k")).toMatchObject({ rows: { train: 6, test: 2 }, duplicates: 0 });
  expect(byName.get("mmlu")).toMatchObject({ rows: { test: 114 }, duplicates: null });
  expect(byName.get("bbh")).toMatchObject({ rows: { test: 27 } });
});
