import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { packageRoot } from "../../ts/bridge/environment/index.js";
import { openBackend, type PythonBackend } from "../../ts/bridge/index.js";
import { resolveGraph } from "../../ts/graph/model-graph.js";
import { resolveMethod } from "../../ts/methods/registry.js";
import { runSchema } from "../../ts/spec/run.js";
import { createTrainer } from "../../ts/train/create-trainer.js";
import { fineTune } from "../../ts/train/fine-tune.js";
import { startRun } from "../../ts/train/run-handle.js";
import type { Trainer } from "../../ts/train/trainer.js";
import { median } from "../../ts/util/statistics.js";
import { temporaryFolder } from "../support/temporary-folder.js";

const seconds = z.object({ seconds: z.array(z.number()) });
const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

let backend: PythonBackend;
beforeAll(async () => {
  const pythonPath = [join(packageRoot, "test", "fixtures", "python")];
  backend = await openBackend({ python: process.env["MILORA_PYTHON"] ?? "", pythonPath, opModules: ["timed_ops"] });
  await backend.call("openModel", { model: "smollm2-135m" });
});
afterAll(() => backend.close());

const spec = async () => {
  const file = join(await temporaryFolder(), "rows.jsonl");
  const row = (index: number) =>
    JSON.stringify({ prompt: `Question: what follows ${index}?\nAnswer:`, answer: ` ${index + 1}` });
  writeFileSync(file, Array.from({ length: 96 }, (_, index) => row(index)).join("\n"));
  return runSchema.parse({
    model: "smollm2-135m",
    method: { kind: "milora" },
    data: { train: file },
    train: { batchSize: 8, maxSteps: 10, activationLearningRate: 0 },
  });
};

const graphOf = async () => resolveGraph(await backend.call("describeModel", { model: "smollm2-135m" }));

describe("the TypeScript loop on the 135 M model", () => {
  it("costs at most 2 % over the steps themselves, with progress events, the record and the schedule", async () => {
    const out = join(await temporaryFolder(), "run");
    const [graph, resolved] = [await graphOf(), await spec()];
    const session = { device: "cpu", dtype: "bfloat16", versions: {} };
    await backend.session.call("stepSeconds", {});
    let loop = Number.NaN;
    const run = startRun(
      (control) => fineTune({ backend, graph, spec: resolved, out, resume: false, control, session }),
      {
        onEvent: (event) => {
          if (event.type === "finished") loop = event.seconds;
        },
      },
    );
    await run.result;
    const steps = seconds.parse(await backend.session.call("stepSeconds", {})).seconds;
    expect(steps).toHaveLength(10);
    process.stderr.write(`the whole loop / its steps in Python: ${(loop / sum(steps)).toFixed(4)}\n`);
    expect(loop / sum(steps)).toBeGreaterThanOrEqual(1);
    expect(loop / sum(steps)).toBeLessThan(1.02);
  });

  it("is as fast as a plain Python loop over the same batches, interleaved", async () => {
    const [graph, { method, train }] = [await graphOf(), await spec()];
    const folder = await temporaryFolder();
    const rows = Array.from({ length: 64 }, (_, index) =>
      JSON.stringify({ prompt: `What follows ${index}?`, answer: ` ${index + 1}` }),
    );
    const files = { train: join(folder, "train.jsonl"), dev: join(folder, "dev.jsonl") };
    for (const file of Object.values(files)) writeFileSync(file, rows.join("\n"));
    const settings = { ...train, epochs: 100 };
    const data = { files, format: "plain", devSource: "test" } as const;
    const trainer: Trainer = await createTrainer({
      backend,
      adapter: "measured",
      method: resolveMethod(graph, method),
      settings,
      ...data,
    });
    const batches = Array.from({ length: 3 }, (_, index) =>
      Array.from({ length: 8 }, (_unused, row) => 8 * index + row),
    );
    const inTypeScript = async (): Promise<readonly number[]> => {
      const times: number[] = [];
      for (const batch of batches) {
        const start = performance.now();
        await trainer.weightsStep({ rows: batch }, { learningRate: 1e-5 });
        await trainer.figures();
        times.push((performance.now() - start) / 1000);
      }
      return times;
    };
    const inPython = async (): Promise<readonly number[]> =>
      seconds.parse(await backend.session.call("pythonLoop", { batches, learningRate: 1e-5 })).seconds;
    await inPython();
    const ratios: number[] = [];
    for (let round = 0; round < 9; round += 1) {
      const [first, second] = round % 2 === 0 ? [inTypeScript, inPython] : [inPython, inTypeScript];
      const [one, two] = [median(await first()), median(await second())];
      ratios.push(round % 2 === 0 ? one / two : two / one);
    }
    process.stderr.write(
      `TypeScript loop / Python loop, interleaved: ${ratios.map((ratio) => ratio.toFixed(3)).join(" ")}, median ${median(ratios).toFixed(4)}\n`,
    );
    // The machine's own noise between two equal loops is a few per cent; the exact cost is in the test above.
    expect(median(ratios)).toBeLessThan(1.1);
    await trainer.close();
  });
});
