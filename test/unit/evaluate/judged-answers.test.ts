import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { evaluate } from "../../../ts/evaluate/evaluate.js";
import { judge } from "../../../ts/evaluate/judge/judge.js";
import { mtBench } from "../../../ts/tasks/mt-bench.js";
import { createFakeBackend } from "../../support/fake-backend.js";
import { judgeServer } from "../../support/judge-server.js";
import { madeUpData } from "../../support/made-up-tasks.js";

/** A model that counts the messages or characters that it is asked, and makes up a next instruction. */
const counting = () =>
  createFakeBackend({
    generate: ({ requests }) => ({
      outputs: requests.map(({ prompt = "", messages }) => ({
        text: ` I got ${messages?.length ?? prompt.length}.\n### Instruction:\nGo on.`,
        promptTokens: 3,
        newTokens: 2,
        finish: "stop" as const,
        routing: null,
      })),
    }),
  });

const answered = async (template: string) => {
  const backend = counting();
  const dir = await madeUpData();
  const result = await evaluate({ backend, adapter: null, task: mtBench, scorer: "generate", template, dir });
  const file = join(dir, "answers.json");
  await writeFile(file, JSON.stringify({ results: [result] }));
  return { backend, result, file };
};

test("with the template chat, the second turn brings the messages of both", async () => {
  const { backend, result } = await answered("chat");
  expect(result.protocol).toContain("chat template");
  const [first, second] = backend.calls.map(({ input }) => input);
  expect(first).toMatchObject({
    requests: [{ adapter: null, prompt: "Write about zorbs.", chat: true }, { prompt: "What is 2 + 2?" }],
  });
  expect(second).toMatchObject({
    requests: [
      {
        adapter: null,
        messages: [
          { role: "user", content: "Write about zorbs." },
          { role: "assistant", content: "I got 18.\n### Instruction:\nGo on." },
          { role: "user", content: "Shorter, please." },
        ],
      },
      {},
    ],
  });
  const { turns, material } = result.rows[1] ?? {};
  expect(turns?.map(({ prompt }) => prompt)).toEqual(["What is 2 + 2?", "And twice that?"]);
  expect(material).toEqual({
    question: 111,
    category: "math",
    turns: ["What is 2 + 2?", "And twice that?"],
    references: ["4", "8"],
  });
});

test.each([
  ["chat", "<reply_2>\nI got 3.\n### Instruction:\nGo on.\n</reply_2>"],
  ["alpaca", ".\n</reply_2>"],
])("saved answers of the template %s are what the judge sees", async (template, shown) => {
  const { file } = await answered(template);
  const server = await judgeServer(() => "[[7]]");
  const judging = await judge({ results: [file], endpoint: server.endpoint, judgeModel: "judge" });
  expect(judging.methods?.[0]?.overall).toMatchObject({ mean: 7, scored: 4 });
  const later = server.requests.map(({ prompt }) => prompt).filter((prompt) => prompt.includes("<reply_2>"));
  expect(later).toHaveLength(2);
  for (const prompt of later) expect(prompt).toContain(shown);
  // An instruction that the model made up is no part of its answer.
  if (template === "alpaca") for (const prompt of later) expect(prompt).not.toContain("Go on.");
});
