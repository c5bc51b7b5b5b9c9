import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { PythonBackend } from "../../ts/bridge/index.js";
import type { DecideHook } from "../../ts/train/run-handle.js";
import { openModelBackend, plainPrompts, specOf, startRealRun } from "../support/real-training.js";
import { temporaryFolder } from "../support/temporary-folder.js";
import { makeTinyModel } from "../support/tiny-model.js";
import { stateOf, weightSteps } from "../support/training-runs.js";

let model: Awaited<ReturnType<typeof makeTinyModel>>;
let backend: PythonBackend;
beforeAll(async () => {
  model = await makeTinyModel();
  backend = await openModelBackend(model.folder, "faulty_ops");
});
afterAll(async () => {
  await backend.close();
  model.remove();
});

const stopAt =
  (step: number): DecideHook =>
  (event) =>
    event.type === "step" && event.step >= step ? { stop: "seen enough" } : undefined;

const methods = [
  { kind: "milora", rank: 4, dropout: 0.1 },
  { kind: "midora", rank: 4 },
  { kind: "lora", rank: 4, dropout: 0.1 },
  { kind: "dora", rank: 4 },
  { kind: "adalora", initialRank: 4, targetRank: 2 },
  { kind: "moelora", rank: 8 },
  { kind: "parallel-adapter" },
  { kind: "learned-adapter", bottleneck: 4 },
  { kind: "p-tuning-v2" },
  { kind: "iapt" },
  { kind: "bitfit" },
  { kind: "ia3" },
  { kind: "ssp", rank: 4, budgetRank: 2 },
];

describe("a run that was stopped and resumed", () => {
  it.each(methods)("of $kind ends as the one that never was: 10 steps = 5 + 5", async (method) => {
    // Epochs of five steps on D_train and of one on D_val, so that both orders pass their ends.
    const train = { maxSteps: 10, epochs: 99, evalEvery: 2, checkpointEvery: 4, warmup: 0.3 };
    const spec = await specOf(model.folder, { method, train, prompts: plainPrompts(22) });
    const folder = await temporaryFolder();
    const [straight, broken] = [join(folder, "straight"), join(folder, "broken")];
    const expected = await (await startRealRun({ backend, spec, out: straight })).result;
    const first = await (await startRealRun({ backend, spec, out: broken, decide: stopAt(5) })).result;
    expect(first).toMatchObject({ steps: 5, stoppedBy: "seen enough" });
    const resumed = await (await startRealRun({ backend, spec, out: broken, resume: true })).result;
    expect(resumed).toMatchObject({ steps: 10, best: expected.best });
    expect(stateOf(broken, 10)).toEqual(stateOf(straight, 10));
    expect(weightSteps(broken)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  });

  it("keeps its patience", async () => {
    // A rate this high makes the dev loss rise at once.
    const train = { maxSteps: 40, epochs: 99, evalEvery: 1, patience: 3, learningRate: 0.5, warmup: 0 };
    const spec = await specOf(model.folder, { train, prompts: plainPrompts(22) });
    const folder = await temporaryFolder();
    const [straight, broken] = [join(folder, "straight"), join(folder, "broken")];
    const expected = await (await startRealRun({ backend, spec, out: straight })).result;
    expect(expected.stoppedBy).toBe("patience");
    const half = await (await startRealRun({ backend, spec, out: broken, decide: stopAt(expected.steps - 1) })).result;
    expect(half.steps).toBe(expected.steps - 1);
    const resumed = await (await startRealRun({ backend, spec, out: broken, resume: true })).result;
    expect(resumed).toMatchObject({ steps: expected.steps, stoppedBy: "patience", best: expected.best });
    expect(stateOf(broken, expected.steps)).toEqual(stateOf(straight, expected.steps));
  });

  it("whatever is logged, the same seed gives the same numbers", async () => {
    const spec = await specOf(model.folder, { train: { maxSteps: 6, epochs: 9 }, prompts: plainPrompts(22) });
    const folder = await temporaryFolder();
    const [quiet, watched] = [join(folder, "quiet"), join(folder, "watched")];
    await (
      await startRealRun({ backend, spec, out: quiet })
    ).result;
    await (
      await startRealRun({ backend, spec, out: watched, decide: () => undefined })
    ).result;
    expect(stateOf(watched, 6)).toEqual(stateOf(quiet, 6));
  });
});
