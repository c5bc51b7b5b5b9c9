import { rm } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { OpOutput } from "../../../ts/backend/backend.js";
import { openBackend, type PythonBackend } from "../../../ts/bridge/index.js";
import { failureOf, testPython } from "../../fixtures/bridge/support.js";
import { everyExpert, loraPlanOf, makeCheckpoint, planOf } from "./support.js";

/** Second-order steps, warm starts, routing by request, and LoRA adapters in and out, through the bridge. */

let backend: PythonBackend;
let folder: string;
let described: OpOutput<"describeModel">;
const at = (...parts: readonly string[]): string => join(folder, ...parts);
const data = { data: "train", rows: [0, 1, 2], learningRate: 0.01 };

beforeAll(async () => {
  folder = await makeCheckpoint();
  backend = await openBackend({ python: testPython() });
  const model = at("model");
  described = await backend.call("describeModel", { model });
  await backend.call("openModel", { model, device: "cpu", dtype: "float32" });
  await backend.call("loadRows", { name: "train", file: at("rows.jsonl") });
});
afterAll(async () => {
  await backend?.close();
  await rm(folder, { recursive: true, force: true });
});

test("second-order steps, then a warm start of the routers alone", async () => {
  const attached = await backend.call("attachAdapter", { adapter: "first", config: planOf(described) });
  await backend.call("startTraining", { adapter: "first" });
  await backend.call("weightsStep", data);
  await backend.call("activationStep", { ...data, rows: [0], virtualStep: data });
  const { steps } = await backend.call("trainingFigures", {});
  expect(steps.map(({ kind }) => kind)).toEqual(["weights", "activation"]);
  expect(steps.every(({ loss, gradientNorm }) => loss !== null && gradientNorm !== null)).toBe(true);
  await backend.call("stopTraining", {});
  await backend.call("saveAdapter", { adapter: "first", folder: at("first") });

  const warm = { adapter: "warm", warmStart: at("first") };
  const routers = await backend.call("attachAdapter", { ...warm, config: planOf(described), trains: "router" });
  expect(routers.trainable).toBe(attached.routerParameters + attached.activationParameters);
  const rows = [{ prompt: "Say", choices: ["one"] }];
  const scores = await Promise.all(
    ["first", "warm"].map((adapter) => backend.call("scoreChoices", { rows, adapter })),
  );
  expect(scores[0]).toEqual(scores[1]);
  const other = backend.call("attachAdapter", { ...warm, adapter: "no", config: planOf(described, { top_k: 3 }) });
  const error = await failureOf(other);
  expect(error).toMatchObject({ code: "adapter/mismatch", problems: ["top_k: found 2, planned 3"] });
  await backend.call("unloadAdapter", { adapter: "warm" });
  await backend.call("unloadAdapter", { adapter: "first" });
});

test("k, masks and kept decisions by request, and the routes of prompts", async () => {
  await backend.call("attachAdapter", { adapter: "routed", config: planOf(described) });
  const request = { adapter: "routed", prompt: "Say one: " };
  const generate = async (change: object): Promise<readonly (readonly string[])[] | undefined> => {
    const requests = [{ ...request, ...change }];
    const { outputs } = await backend.call("generate", { requests, maxNewTokens: 2, explain: true });
    return outputs[0]?.routing?.experts;
  };
  const own = await generate({ keepDecisionAs: "turn" });
  expect(own?.map(({ length }) => length)).toEqual([2, 2]);
  expect(await generate({ topK: 1 })).toHaveLength(2);
  const masked = own?.[0]?.[0] ?? "";
  expect((await generate({ masked: [masked] }))?.[0]).not.toContain(masked);
  expect(await generate({ prompt: "Something else", decision: "turn" })).toEqual(own);
  expect(await failureOf(generate({ decision: "trun" }))).toMatchObject({
    code: "input/unknown-name",
    hint: "Did you mean 'turn'?",
  });
  const tooMany = { code: "input/invalid-spec", path: "requests[0].topK", allowed: "1 to 2" };
  expect(await failureOf(generate({ topK: 3 }))).toMatchObject(tooMany);

  const requests = ["a", "b c", "d e f"].map((prompt) => ({ prompt }));
  const routed = await backend.call("routePrompts", { adapter: "routed", requests, microBatch: 2, explain: 1 });
  expect(routed.gates.map((layers) => layers.map((gates) => gates.filter((gate) => gate !== 0).length))).toEqual([
    [2, 2],
  ]);
  expect(routed.prompts).toBe(3);
  const total = (counts: readonly number[]): number => counts.reduce((sum, count) => sum + count, 0);
  expect(routed.argmax.map(total)).toEqual([3, 3]);
  expect(routed.chosen.map(total)).toEqual([6, 6]);
  expect(routed.balance).toBeGreaterThan(0);
  await backend.call("unloadAdapter", { adapter: "routed" });
});

test("a LoRA adapter becomes experts, and the experts a LoRA adapter", async () => {
  await backend.call("attachAdapter", { adapter: "plain", config: loraPlanOf(described) });
  await backend.call("startTraining", { adapter: "plain" });
  for (let step = 0; step < 3; step += 1) await backend.call("weightsStep", data);
  await backend.call("stopTraining", {});
  await backend.call("saveAdapter", { adapter: "plain", folder: at("plain") });
  const rows = [{ prompt: "Say", choices: ["one", "two"] }];
  const expected = await backend.call("scoreChoices", { rows, adapter: "plain" });

  const config = planOf(described, { top_k: 7, gate: "none" });
  const imported = await backend.call("importLora", { folder: at("plain"), out: at("imported"), config });
  const loaded = await backend.call("loadAdapter", { adapter: "imported", folder: at("imported") });
  expect(loaded.parameters).toBe(imported.parameters);
  const found = await backend.call("scoreChoices", { rows, adapter: "imported" });
  for (const [index, { logLikelihood }] of (expected.scores[0] ?? []).entries())
    expect(found.scores[0]?.[index]?.logLikelihood).toBeCloseTo(logLikelihood, 4);

  const { targets, chosen } = everyExpert(described);
  const output = { folder: at("imported"), out: at("back"), config: loraPlanOf(described, targets), chosen };
  await backend.call("exportLora", output);
  await backend.call("unloadAdapter", { adapter: "imported" });
  await backend.call("loadAdapter", { adapter: "back", folder: at("back") });
  expect(await backend.call("scoreChoices", { rows, adapter: "back" })).toEqual(expected);
  const none = await failureOf(backend.call("exportLora", { ...output, chosen: { "model.layers.9": ["q_proj"] } }));
  expect(none).toMatchObject({ code: "input/unknown-name", path: "chosen.model.layers.9" });
});
