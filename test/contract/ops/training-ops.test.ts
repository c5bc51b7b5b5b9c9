import { rm } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import type { OpInput } from "../../../ts/backend/backend.js";
import { openBackend, type PythonBackend } from "../../../ts/bridge/index.js";
import { failureOf, testPython } from "../../fixtures/bridge/support.js";
import { makeCheckpoint, planOf } from "./support.js";

/** How a step is computed changes no number: rows at once, trials, layers computed twice. */

let backend: PythonBackend;
let folder: string;
const data = { data: "train", rows: [0, 1, 2] };

beforeAll(async () => {
  folder = await makeCheckpoint();
  backend = await openBackend({ python: testPython() });
});
afterAll(async () => {
  await backend?.close();
  await rm(folder, { recursive: true, force: true });
});

const model = (): string => join(folder, "model");

beforeEach(async () => {
  await backend.call("openModel", { model: model(), device: "cpu", dtype: "float32" });
  await backend.call("loadRows", { name: "train", file: join(folder, "rows.jsonl") });
});

const attach = async (): Promise<void> => {
  const config = planOf(await backend.call("describeModel", { model: model() }));
  await backend.call("attachAdapter", { adapter: "tuned", config });
};

type Settings = Partial<OpInput<"startTraining">>;

/** Norms and losses of three steps; `between` is called before each. */
const threeSteps = async (settings: Settings = {}, between = async (): Promise<unknown> => undefined) => {
  await attach();
  await backend.call("startTraining", { adapter: "tuned", balance: 0.01, ...settings });
  for (let step = 0; step < 3; step += 1) {
    await between();
    await backend.call("weightsStep", { ...data, learningRate: 0.01 });
  }
  const { steps } = await backend.call("trainingFigures", {});
  await backend.call("stopTraining", {});
  await backend.call("unloadAdapter", { adapter: "tuned" });
  return steps.flatMap(({ loss, gradientNorm }) => [loss ?? Number.NaN, gradientNorm ?? Number.NaN]);
};

const expectNear = (found: readonly number[], expected: readonly number[]): void =>
  expected.forEach((value, index) => expect(Math.abs((found[index] ?? Number.NaN) - value)).toBeLessThan(1e-5));

test("fewer rows at once, set between steps, give the same steps", async () => {
  const whole = await threeSteps();
  let rows = 3;
  const shrinking = await threeSteps({ microBatch: rows }, async () => {
    await backend.call("setMicroBatch", { rows });
    rows -= 1;
  });
  expectNear(shrinking, whole);
});

test("a trial tells its memory and changes nothing", async () => {
  const whole = await threeSteps();
  const tried = await threeSteps({}, async () => {
    const { usedBytes, freeBytes } = await backend.call("trialStep", data);
    expect(usedBytes).toBeGreaterThanOrEqual(0);
    expect(freeBytes === null || freeBytes > 0).toBe(true);
  });
  expect(tried).toEqual(whole);
});

test("layers that are computed twice give the same steps, and the next training is without", async () => {
  const whole = await threeSteps();
  expectNear(await threeSteps({ gradientCheckpointing: true }), whole);
  expect(await threeSteps()).toEqual(whole);
});

test("LoRA+ and decay of matrices alone are taken", async () => {
  const whole = await threeSteps();
  const plus = await threeSteps({ loraPlusRatio: 8, weightDecay: 0.1, weightDecayOn: "matrices" });
  expect(plus.slice(0, 2)).toEqual(whole.slice(0, 2));
  expect(plus.at(-2)).not.toBe(whole.at(-2));
});

test("float16 on a CPU is refused", async () => {
  await backend.call("openModel", { model: model(), device: "cpu", dtype: "float16" });
  await attach();
  expect(await failureOf(backend.call("startTraining", { adapter: "tuned" }))).toMatchObject({
    code: "input/invalid-spec",
    path: "train.dtype",
    found: "float16 on cpu",
  });
});
