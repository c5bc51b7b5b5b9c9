import { existsSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { soak } from "../../scripts/lib/soak.js";
import type { Backend } from "../../ts/backend/backend.js";
import type { PythonBackend } from "../../ts/bridge/index.js";
import { resolveGraph } from "../../ts/graph/model-graph.js";
import { fineTune } from "../../ts/train/fine-tune.js";
import { startRun } from "../../ts/train/run-handle.js";
import { median } from "../../ts/util/statistics.js";
import { openModelBackend, plainPrompts, specOf } from "../support/real-training.js";
import { temporaryFolder } from "../support/temporary-folder.js";
import { makeTinyModel } from "../support/tiny-model.js";

let model: Awaited<ReturnType<typeof makeTinyModel>>;
beforeAll(async () => {
  model = await makeTinyModel();
});
afterAll(() => model.remove());

/** Milliseconds of a step: of this process's processor time, and of the wall clock. */
interface Cost {
  readonly processor: number;
  readonly wall: number;
}

const now = (): Cost => {
  const { user, system } = process.cpuUsage();
  return { processor: (user + system) / 1000, wall: performance.now() };
};

/** Makes a run of steps on the backend; gives what each took, from its end to the end of the next. */
const costs = async (backend: PythonBackend, maxSteps: number): Promise<readonly Cost[]> => {
  const train = {
    maxSteps,
    epochs: maxSteps,
    activationLearningRate: 0,
    evalEvery: maxSteps,
    checkpointEvery: maxSteps,
  };
  const spec = await specOf(model.folder, { prompts: plainPrompts(40), train: { ...train, batchSize: 16 } });
  const ends: Cost[] = [];
  const timed: Backend = {
    close: () => backend.close(),
    call: async (name, input, options) => {
      const output = await backend.call(name, input, options);
      if (name === "weightsStep") ends.push(now());
      return output;
    },
  };
  const graph = resolveGraph(await backend.call("describeModel", { model: model.folder }));
  const session = { device: "cpu", dtype: "float32", versions: {} };
  const out = join(await temporaryFolder(), "run");
  await startRun((control) => fineTune({ backend: timed, graph, spec, out, resume: false, control, session })).result;
  return ends.slice(1).map((end, index) => ({
    processor: end.processor - (ends[index]?.processor ?? 0),
    wall: end.wall - (ends[index]?.wall ?? 0),
  }));
};

describe("a training step on the tiny model", () => {
  it("costs the TypeScript side, with bridge, record and schedule, under half a millisecond (median)", async () => {
    // Steps that compute nothing: behind a real one both sides first fetch their code and data into the caches again,
    // which a bare child process of Node pays alike.
    await using backend = await openModelBackend(model.folder, "empty_ops");
    const steps = await costs(backend, 2400);
    expect(steps).toHaveLength(2399);
    // The first ones are compiled while they run; of the rest, the part that others disturbed least.
    const parts = [800, 1200, 1600, 2000].map((from) => steps.slice(from, from + 399));
    const medians = parts.map((part) => ({
      processor: median(part.map(({ processor }) => processor)),
      wall: median(part.map(({ wall }) => wall)),
    }));
    const told = medians.map(({ processor, wall }) => `${processor.toFixed(3)} of ${wall.toFixed(3)}`).join(", ");
    process.stderr.write(`processor time of the TypeScript side, of all of a step with Python's, ms: ${told}\n`);
    const least = Math.min(...medians.map(({ processor }) => processor));
    expect(least).toBeGreaterThan(0);
    expect(least).toBeLessThan(0.5);
  });

  // scripts/soak.ts makes 10,000 steps and more.
  it("leaks neither files nor memory on either side", async (context) => {
    if (!existsSync("/proc/self/fd")) context.skip("only Linux tells the files of a process");
    const train = { maxSteps: 800, epochs: 10_000, batchSize: 2, evalEvery: 160, checkpointEvery: 160, patience: 100 };
    const spec = await specOf(model.folder, { prompts: plainPrompts(40), train });
    await using backend = await openModelBackend(model.folder, "timed_ops");
    const samples = await soak({ backend, spec, out: join(await temporaryFolder(), "run") });
    const [first, last] = [samples[1], samples.at(-1)];
    expect(last?.step).toBe(800);
    expect(last?.nodeFiles).toBe(first?.nodeFiles);
    expect(last?.pythonFiles).toBe(first?.pythonFiles);
    // The newest events are kept for who looks late: some 300 bytes each, two a step.
    expect((last?.node ?? Infinity) - (first?.node ?? 0)).toBeLessThan(3e6);
    expect((last?.python ?? Infinity) - (first?.python ?? 0)).toBeLessThan(24e6);
  });
});
