import { rm } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openBackend, type PythonBackend } from "../../../ts/bridge/index.js";
import { evaluate } from "../../../ts/evaluate/evaluate.js";
import { defineTask } from "../../../ts/tasks/define-task.js";
import type { Scorer } from "../../../ts/tasks/task.js";
import { failureOf, testPython } from "../../fixtures/bridge/support.js";
import { makeCheckpoint } from "../ops/support.js";

/** Rows of 100 kB on a model with a context of 128 tokens. */

let backend: PythonBackend;
let folder: string;

beforeAll(async () => {
  folder = await makeCheckpoint();
  backend = await openBackend({ python: testPython() });
  await backend.call("openModel", { model: join(folder, "model"), device: "cpu", dtype: "float32" });
});
afterAll(async () => {
  await backend?.close();
  await rm(folder, { recursive: true, force: true });
});

const long = "word ".repeat(20_000);
const texts = ["Hi", long, "Say one: "];

const taskOf = (choices: readonly string[]) =>
  defineTask({
    name: "long",
    version: 1,
    choices,
    maxNewTokens: 4,
    prompt: (row: { readonly text: string }) => `${row.text}:`,
    answer: () => "yes",
    load: () => Promise.resolve(texts.map((text) => ({ text }))),
  });

test.each(["generate", "loglik"] as const)(
  "%s: the start of such a prompt is cut, and told; the others' answers do not change",
  async (scorer: Scorer) => {
    const startedAt = performance.now();
    const options = { backend, adapter: null, task: taskOf(["yes", "no"]), scorer };
    const result = await evaluate(options);
    expect(performance.now() - startedAt).toBeLessThan(20_000);
    expect(result).toMatchObject({ total: 3, truncated: 1 });
    expect(result.rows.map(({ truncated }) => truncated)).toEqual([undefined, true, undefined]);
    expect(result.rows[1]?.prompt).toBe(`${long}:`);
    const alone = await evaluate({ ...options, limit: 1 });
    expect(alone.rows[0]?.output).toBe(result.rows[0]?.output);
    expect(alone.rows[0]?.read).toBe(result.rows[0]?.read);
    expect(alone.truncated).toBe(0);
  },
  60_000,
);

test("a choice of 100 kB is refused, with its row", async () => {
  const task = taskOf(["yes", long]);
  const error = await failureOf(evaluate({ backend, adapter: null, task, scorer: "loglik" }));
  expect(error).toMatchObject({ code: "input/invalid-spec", path: "rows[0].choices[1]" });
  expect(error.message).toMatch(/^long, test row 1: The choice .* is longer than the model's context/);
  expect(error.hint).toContain("Remove the row");
});

test("new tokens that the context has no room for are refused, whatever the prompt", async () => {
  const options = {
    backend,
    adapter: null,
    task: taskOf(["yes", "no"]),
    scorer: "generate",
    maxNewTokens: 128,
  } as const;
  const error = await failureOf(evaluate(options));
  expect(error.code).toBe("input/invalid-spec");
  expect(error.message).toContain("context of 128 tokens has no room for a prompt and 128 new tokens");
});
