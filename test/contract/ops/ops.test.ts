import { rm, truncate } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openBackend, type PythonBackend } from "../../../ts/bridge/index.js";
import { failureOf, testPython } from "../../fixtures/bridge/support.js";
import { makeCheckpoint, planOf } from "./support.js";

/** Every operation through the bridge, on a tiny checkpoint; `call` holds each output to its schema. */

let backend: PythonBackend;
let folder: string;
const at = (...parts: readonly string[]): string => join(folder, ...parts);

beforeAll(async () => {
  folder = await makeCheckpoint();
  backend = await openBackend({ python: testPython() });
});
afterAll(async () => {
  await backend?.close();
  await rm(folder, { recursive: true, force: true });
});

test("the main job, operation by operation", async () => {
  const model = at("model");
  expect((await backend.call("hello", {})).devices.at(-1)?.type).toBe("cpu");
  const described = await backend.call("describeModel", { model });
  expect(described.layers.map(({ path }) => path)).toEqual(["model.layers.0", "model.layers.1"]);
  const opened = await backend.call("openModel", { model, device: "cpu", dtype: "float32" });
  expect(opened).toMatchObject({ dtype: "float32", attention: "sdpa", contextLength: 128, hasChatTemplate: false });
  const loaded = await backend.call("loadRows", { name: "train", file: at("rows.jsonl") });
  expect(loaded.answerTokens).toEqual([4, 4, 6]);

  const attached = await backend.call("attachAdapter", { adapter: "tuned", config: planOf(described) });
  const started = await backend.call("startTraining", { adapter: "tuned", balance: 0.01 });
  expect(started.weights + started.activation).toBe(attached.trainable);
  const data = { data: "train", rows: [0, 1, 2] };
  const before = await backend.call("dataLoss", { ...data, adapter: "tuned" });
  for (let step = 0; step < 10; step += 1) await backend.call("weightsStep", { ...data, learningRate: 0.01 });
  await backend.call("activationStep", { ...data, learningRate: 1e-6 });
  const { steps } = await backend.call("trainingFigures", {});
  expect(steps.map(({ kind }) => kind)).toEqual([...Array<string>(10).fill("weights"), "activation"]);
  expect(steps[0]?.loss).toBeCloseTo(before.nll / before.answerTokens, 4);
  const after = await backend.call("dataLoss", { ...data, adapter: "tuned" });
  expect(after.nll).toBeLessThan(before.nll);
  expect(after.routing?.prompts).toBe(3);

  await backend.call("saveTraining", { folder: at("state") });
  await backend.call("loadTraining", { folder: at("state") });
  await backend.call("stopTraining", {});
  await backend.call("saveAdapter", { adapter: "tuned", folder: at("adapter") });
  const again = await backend.call("loadAdapter", { adapter: "again", folder: at("adapter") });
  expect(again.parameters).toBe(attached.trainable);
  expect((await backend.call("dataLoss", { ...data, adapter: "again" })).nll).toBeCloseTo(after.nll, 3);

  const requests = [{ prompt: "Say one: ", adapter: "again" }, { prompt: "Say one: " }];
  const { outputs } = await backend.call("generate", { requests, maxNewTokens: 4, beams: 2, explain: true });
  expect(outputs[0]?.routing?.experts.map((experts) => experts.length)).toEqual([2, 2]);
  expect(outputs[1]?.routing).toBeNull();
  const choices = [{ prompt: "Say one: ", choices: ["one", "two"] }];
  const { scores } = await backend.call("scoreChoices", { rows: choices, adapter: "again" });
  expect(scores[0]?.map(({ tokens }) => tokens)).toEqual([3, 3]);
  await backend.call("unloadAdapter", { adapter: "again" });
  await backend.call("closeModel", {});
});

test("a running generation is cancelled and the session goes on", async () => {
  await backend.call("openModel", { model: at("model"), device: "cpu", dtype: "float32" });
  const controller = new AbortController();
  const requests = Array.from({ length: 64 }, () => ({ prompt: "a" }));
  const call = backend.call(
    "generate",
    { requests, maxNewTokens: 120 },
    { signal: controller.signal, onEvent: () => controller.abort() },
  );
  expect((await failureOf(call)).code).toBe("cancelled");
  const { outputs } = await backend.call("generate", { requests: [{ prompt: "a" }], maxNewTokens: 2 });
  expect(outputs).toHaveLength(1);
});

test("a chat needs a checkpoint with a chat template, and a message that is to be answered", async () => {
  await backend.call("openModel", { model: at("model"), device: "cpu", dtype: "float32" });
  const asked = { role: "user", content: "What is 2 + 2?" };
  const call = backend.call("generate", { requests: [{ messages: [asked] }] });
  expect((await failureOf(call)).code).toBe("model/unsupported");
  const answered = { messages: [asked, { role: "assistant", content: "4" }] };
  const rows = backend.call("scoreChoices", { rows: [{ ...answered, choices: ["a"] }] });
  expect(await failureOf(rows)).toMatchObject({ code: "input/invalid-spec", path: "messages" });
});

test("an unknown adapter says which was meant", async () => {
  await backend.call("openModel", { model: at("model"), device: "cpu", dtype: "float32" });
  const config = planOf(await backend.call("describeModel", { model: at("model") }));
  await backend.call("attachAdapter", { adapter: "support", config });
  const call = backend.call("generate", { requests: [{ prompt: "a", adapter: "suport" }] });
  expect(await failureOf(call)).toMatchObject({ code: "adapter/not-found", hint: "Did you mean 'support'?" });
});

test("a truncated weights file is named", async () => {
  const file = at("model", "model.safetensors");
  await truncate(file, 5000);
  const error = await failureOf(backend.call("openModel", { model: at("model") }));
  expect(error).toMatchObject({ code: "model/unreadable", file });
  expect(error.message).toContain("truncated");
});
