import { existsSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
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
let backend: PythonBackend;
beforeAll(async () => {
  model = await makeTinyModel();
  backend = await openModelBackend(model.folder, "timed_ops");
});
afterAll(async () => {
  await backend.close();
  model.remove();
});

const stepSeconds = async (): Promise<readonly number[]> =>
  z.object({ seconds: z.array(z.number()) }).parse(await backend.session.call("stepSeconds", {})).seconds;

describe("a training step on the tiny model", () => {
  // In processor time, since the wall clock tells how long others made us wait; and as bare calls of the bridge, since
  // one machine's processor time for the same step swings by three (0.23 to 0.67 ms). Where such a call takes 60 µs,
  // this is half a millisecond.
  it("costs the TypeScript side, bridge and record and schedule together, under eight bare calls (median)", async () => {
    const train = { maxSteps: 900, epochs: 1000, activationLearningRate: 0, evalEvery: 1000, checkpointEvery: 1000 };
    const spec = await specOf(model.folder, { prompts: plainPrompts(40), train });
    const marks: { wall: number; processor: number }[] = [];
    const processor = (): number => {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1000;
    };
    const timed: Backend = {
      close: () => backend.close(),
      call: async (name, input, options) => {
        const output = await backend.call(name, input, options);
        if (name === "weightsStep") marks.push({ wall: performance.now(), processor: processor() });
        return output;
      },
    };
    const bare: number[] = [];
    const callBare = async (): Promise<void> => {
      for (let index = 0; index < 400; index += 1) {
        const before = processor();
        await backend.call("hello", {});
        bare.push(processor() - before);
      }
    };
    const graph = resolveGraph(await backend.call("describeModel", { model: model.folder }));
    const session = { device: "cpu", dtype: "float32", versions: {} };
    const out = join(await temporaryFolder(), "run");
    await stepSeconds();
    await callBare();
    await startRun((control) => fineTune({ backend: timed, graph, spec, out, resume: false, control, session }))
      .result;
    const inPython = await stepSeconds();
    await callBare();
    expect(marks).toHaveLength(900);
    expect(inPython).toHaveLength(900);
    // From the end of one step to the end of the next.
    const steps = marks.slice(1).map(({ wall, processor: used }, index) => ({
      processor: used - (marks[index]?.processor ?? 0),
      waited: wall - (marks[index]?.wall ?? 0) - 1000 * (inPython[index + 1] ?? 0),
    }));
    // The first ones are compiled while they run.
    const warm = steps.slice(400);
    const cost = median(warm.map((step) => step.processor));
    const waited = median(warm.map((step) => step.waited));
    const call = median(bare);
    process.stderr.write(
      `the TypeScript side of a step: ${cost.toFixed(3)} ms of processor time, ${(cost / call).toFixed(1)} bare calls; ` +
        `without Python's step ${waited.toFixed(3)} ms\n`,
    );
    expect(cost).toBeGreaterThan(0);
    expect(cost).toBeLessThan(8 * call);
  });

  // scripts/soak.ts makes 10,000 steps and more.
  it("leaks neither files nor memory on either side", async (context) => {
    if (!existsSync("/proc/self/fd")) context.skip("only Linux tells the files of a process");
    const train = { maxSteps: 800, epochs: 10_000, batchSize: 2, evalEvery: 160, checkpointEvery: 160, patience: 100 };
    const spec = await specOf(model.folder, { prompts: plainPrompts(40), train });
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
