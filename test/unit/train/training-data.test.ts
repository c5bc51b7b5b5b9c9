import { join } from "node:path";
import { expect, test } from "vitest";
import { runSchema } from "../../../ts/spec/run.js";
import { loadTrainingData } from "../../../ts/train/training-data.js";
import { createFakeTraining } from "../../support/fake-training.js";
import { recordOf, startFineTuning } from "../../support/fine-tuning.js";
import { dataFolder, madeUpData } from "../../support/made-up-tasks.js";
import { temporaryFolder } from "../../support/temporary-folder.js";

test("test rows among the training rows are counted and told when a run starts", async () => {
  const spec = runSchema.parse({
    model: "test/llama",
    method: { kind: "milora", rank: 2 },
    data: { task: "arc-easy", dir: await madeUpData() },
    train: { batchSize: 1, maxSteps: 1 },
  });
  const out = join(await temporaryFolder(), "run");
  await startFineTuning({ backend: createFakeTraining(), spec, out }).result;
  const warnings = recordOf(out).flatMap((event) => (event.type === "warning" ? [event.message] : []));
  expect(warnings).toContain("2 of the 2 test rows of arc-easy are training rows too.");
});

test("rows that differ, and tasks without a test set, give no warning", async () => {
  const dir = await madeUpData();
  const load = async (task: string) => (await loadTrainingData({ task, dir, format: "plain" }, 0)).warnings;
  expect(await load("gsm8k")).toEqual([]);
  expect(await load("alpaca")).toEqual([]);
});

test("a task's own dev set is used where there is no other wish", async () => {
  const row = (question: string) =>
    JSON.stringify({ question, options: ["A)1", "B)2"], rationale: "One. Answer: A", correct: "A" });
  const dir = await dataFolder({ "aqua/train.jsonl": `${row("q")}\n${row("r")}`, "aqua/dev.jsonl": row("s") });
  const data = await loadTrainingData({ task: "aqua", dir, format: "plain" }, 0);
  expect(data).toMatchObject({ devSource: "the 1 dev rows of aqua", warnings: [] });
  expect(data.dev).toEqual([
    { prompt: "Question: s Answer Choices: (A) 1 (B) 2\nAnswer:", answer: " One. Answer: A" },
  ]);
});
