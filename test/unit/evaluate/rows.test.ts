import { describe, expect, test } from "vitest";
import { MiloraError } from "../../../ts/errors.js";
import { evaluate, type EvaluateOptions } from "../../../ts/evaluate/evaluate.js";
import { arcEasy } from "../../../ts/tasks/arc-easy.js";
import { defineTask } from "../../../ts/tasks/define-task.js";
import { mtBench } from "../../../ts/tasks/mt-bench.js";
import { createFakeBackend, type FakeHandlers } from "../../support/fake-backend.js";
import { rejectionOf } from "../../support/thrown.js";

interface Row {
  readonly text: string;
  readonly kind: string;
}

const taskOf = (rows: readonly Row[], choices: readonly string[] = ["yes", "no"]) =>
  defineTask({
    name: "toy",
    version: 1,
    choices,
    prompt: (row: Row) => row.text,
    answer: (row) => row.kind,
    load: () => Promise.resolve(rows),
  });

const good = { text: "a", kind: "yes" };

const answering = (text: string, truncated = false): FakeHandlers => ({
  generate: ({ requests }) => ({
    outputs: requests.map(({ prompt }) => ({
      text,
      promptTokens: 3,
      newTokens: 2,
      finish: "stop",
      routing: null,
      truncated: truncated && (prompt ?? "").length > 1,
    })),
  }),
});

const run = async (handlers: FakeHandlers, options: Pick<EvaluateOptions, "task"> & Partial<EvaluateOptions>) =>
  await evaluate({ backend: createFakeBackend(handlers), adapter: null, scorer: "generate", ...options });

describe("rows of one's own tasks that no output could be right for", () => {
  const cases = [
    ["a label outside its choices", taskOf([good, { text: "b", kind: "maybe" }]), 'the answer "maybe"', "yes, no"],
    ["no answer", taskOf([good, { text: "b", kind: " " }], []), "no answer", "an answer"],
    ["an empty choice", taskOf([good], ["yes", " "]), "an empty choice", "text"],
  ] as const;

  test.each(cases)("%s", async (_what, task, found, allowed) => {
    const backend = createFakeBackend();
    const error = await rejectionOf(evaluate({ backend, adapter: null, task, scorer: "generate" }), "data/bad-row");
    expect(error).toMatchObject({ found, allowed });
    expect(error.message).toMatch(/^toy, test row \d: found /);
    expect(backend.calls).toEqual([]);
  });

  test("answers that are to be judged have none to check", async () => {
    const example = { questionId: 1, category: "math", turns: ["One?", "Two?"], references: [] };
    const task = { ...mtBench, load: () => Promise.resolve([example]) };
    expect(await run(answering("x"), { task })).toMatchObject({ unscored: 1 });
  });
});

test("what the model refuses in a row is told with the row's place in its split", async () => {
  const rows = [good, { text: "a longer one", kind: "no" }];
  const refuse = (path: string): FakeHandlers => ({
    scoreChoices: () => {
      throw new MiloraError("input/invalid-spec", "The choice is too long.", { path });
    },
  });
  const scored = (path: string) => run(refuse(path), { task: taskOf(rows), scorer: "loglik" });
  // The longest rows go first, so that row 0 of the call is row 1 of the split.
  const error = await rejectionOf(scored("rows[0].choices[1]"), "input/invalid-spec");
  expect(error.message).toBe("toy, test row 1: The choice is too long.");
  expect(error.hint).toContain("Remove the row");
  for (const path of ["rows", "rows[7]", "adapter"])
    expect((await rejectionOf(scored(path), "input/invalid-spec")).message).toBe("The choice is too long.");
});

describe("prompts that were cut", () => {
  const rows = [good, { text: "too long", kind: "no" }];

  test("are counted and marked, generated", async () => {
    const result = await run(answering("no", true), { task: taskOf(rows) });
    expect(result).toMatchObject({ truncated: 1, correct: 1 });
    expect(result.rows.map(({ truncated }) => truncated)).toEqual([undefined, true]);
  });

  test("are counted and marked, scored, in the rows' own order", async () => {
    const handlers: FakeHandlers = {
      scoreChoices: ({ rows: asked }) => ({
        scores: asked.map(({ choices }) => choices.map(() => ({ logLikelihood: -1, tokens: 1 }))),
        truncated: asked.flatMap(({ prompt }, index) => ((prompt ?? "").length > 1 ? [index] : [])),
      }),
    };
    const result = await run(handlers, { task: taskOf(rows), scorer: "loglik" });
    expect(result.truncated).toBe(1);
    expect(result.rows.map(({ truncated }) => truncated)).toEqual([undefined, true]);
  });

  test("in any turn of a conversation", async () => {
    const example = { questionId: 1, category: "math", turns: ["?", "Two?"], references: [] };
    const task = { ...mtBench, load: () => Promise.resolve([example]) };
    const result = await run(answering("x", true), { task });
    expect(result.truncated).toBe(1);
    expect((await run(answering("x"), { task })).truncated).toBe(0);
  });
});

describe("the reader", () => {
  const example = { instruction: "i", question: "q?", choices: ["x", "y"], answer: "answer1" };
  const task = { ...arcEasy, load: () => Promise.resolve([example]) };
  const options = { task, template: "choice-label" } as const;

  test("decides what is read, and stands in the result and its protocol", async () => {
    const robust = await run(answering("answer12"), options);
    expect(robust).toMatchObject({ reader: "robust", unparsed: 1, correct: 0 });
    expect(robust.protocol).toContain(", robust reader, accuracy");
    const compat = await run(answering("answer12"), { ...options, reader: "compat" });
    expect(compat).toMatchObject({ reader: "compat", unparsed: 0, correct: 1 });
    expect(compat.protocol).toContain(", compat reader, accuracy");
  });

  test("has nothing to read where the model does not write", async () => {
    const error = await rejectionOf(run({}, { task, scorer: "loglik", reader: "compat" }), "input/invalid-spec");
    expect(error).toMatchObject({ path: "reader", found: "compat" });
  });
});
