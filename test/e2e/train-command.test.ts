import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { jsonOf, runProgram } from "../support/cli.js";
import { temporaryFolder } from "../support/temporary-folder.js";
import { makeTinyModel } from "../support/tiny-model.js";
import { interruptProgram, weightSteps, writeRunSpec } from "../support/training-runs.js";

let model: Awaited<ReturnType<typeof makeTinyModel>>;
beforeAll(async () => {
  model = await makeTinyModel();
});
afterAll(() => model.remove());

const rewritten = (file: string, change: (spec: { train: Record<string, unknown> }) => void): void => {
  const spec = JSON.parse(readFileSync(file, "utf8"));
  change(spec);
  writeFileSync(file, JSON.stringify(spec));
};

describe("milora train", () => {
  it("--dry-run tells parameters, memory, steps and time, and trains nothing", async () => {
    const spec = await writeRunSpec({ model: model.folder, train: { maxSteps: 30, epochs: 9, microBatch: "auto" } });
    const out = join(await temporaryFolder(), "run");
    const result = await runProgram(["train", spec, "--out", out, "--dry-run", "--json"]);
    expect(result.exitCode, result.stderr).toBe(0);
    const params = await runProgram(["params", model.folder, "--method", "milora", "--set", "rank=4", "--json"]);
    const { trainable } = JSON.parse(params.stdout);
    const estimate = JSON.parse(result.stdout);
    expect(estimate).toMatchObject({
      parameters: { trainable },
      steps: 30,
      batchSize: 4,
      microBatch: 4,
      checkpoint: expect.any(Number),
      memory: { trainables: 16 * trainable, base: 4 * estimate.parameters.base },
    });
    expect(estimate.memory.total).toBeGreaterThan(estimate.memory.base);
    expect(estimate.time.step).toBeGreaterThan(0);
    expect(estimate.time.evaluation).toBeGreaterThan(0);
    // 30 steps end before the first evaluation of a schedule of 200: the one at the end is the only one.
    expect(estimate.time.total).toBeCloseTo(30 * estimate.time.step + estimate.time.evaluation, 6);
    expect(existsSync(out)).toBe(false);
  });

  it("--resume lists what changed, and --allow lets it by name", async () => {
    const spec = await writeRunSpec({
      model: model.folder,
      train: { maxSteps: 4000, epochs: 999, checkpointEvery: 5 },
    });
    const run = join(await temporaryFolder(), "run");
    await interruptProgram(["train", spec, "--out", run], { run, step: 10, signal: "SIGINT" });
    const { step: stopped } = JSON.parse(readFileSync(join(run, "run.json"), "utf8"));
    rewritten(spec, ({ train }) => Object.assign(train, { maxSteps: stopped + 5 }));
    const resume = ["train", spec, "--out", run, "--resume", "--json"];
    const refused = await runProgram(resume);
    expect(refused.exitCode).toBe(2);
    expect(jsonOf(refused)).toMatchObject({
      error: { code: "run/not-resumable", problems: [`train.maxSteps: 4000 → ${stopped + 5}`] },
    });
    const done = await runProgram([...resume, "--allow", "train.maxSteps"]);
    expect(done.exitCode, done.stderr).toBe(0);
    expect(weightSteps(run)).toEqual(Array.from({ length: stopped + 5 }, (_, index) => index + 1));
    // What is finished goes on as a new run that names its parent.
    rewritten(spec, ({ train }) => Object.assign(train, { maxSteps: 3, warmStart: run }));
    const next = join(run, "..", "next");
    expect((await runProgram(["train", spec, "--out", next])).exitCode).toBe(0);
    expect(JSON.parse(readFileSync(join(next, "run.json"), "utf8"))).toMatchObject({ parent: { run } });
  });

  // Training on a real Ray: test/py/unit/test_ray_ranks.py and scripts/kills.ts.
  it("looks for the Ray that `scale` names, and so does doctor", async () => {
    const spec = await writeRunSpec({ model: model.folder });
    const out = join(await temporaryFolder(), "run");
    const scale = ["--set", "scale.ranks=2", "--set", "scale.address=127.0.0.1:1"];
    const result = await runProgram(["train", spec, "--out", out, ...scale, "--json"]);
    expect(result.exitCode).toBe(1);
    // Ray is an optional package.
    const code = expect.stringMatching(/^(scale\/unreachable|environment\/missing-package)$/u);
    expect(jsonOf(result)).toMatchObject({ error: { code } });
    expect(existsSync(out)).toBe(false);
    const looked = await runProgram(["doctor", "--ray", "127.0.0.1:1", "--json"]);
    expect(looked.exitCode).toBe(1);
    const detail = expect.stringMatching(/^There is no Ray at 127\.0\.0\.1:1|^Ranks need the Python package ray/u);
    expect(jsonOf(looked)).toMatchObject({ checks: expect.arrayContaining([{ name: "ray", ok: false, detail }]) });
  });

  it("refuses float16 on a CPU, before anything is written", async () => {
    const spec = await writeRunSpec({ model: model.folder, train: { dtype: "float16", maxSteps: 2 } });
    const run = join(await temporaryFolder(), "run");
    const refused = await runProgram(["train", spec, "--out", run, "--json"]);
    expect(refused.exitCode).toBe(2);
    expect(jsonOf(refused)).toMatchObject({
      error: { code: "input/invalid-spec", path: "train.dtype", found: "float16 on cpu" },
    });
    expect(existsSync(run)).toBe(false);
  });

  it("refuses to go on over another base model of the same shape", async () => {
    const other = await makeTinyModel({ seed: 9 });
    const spec = await writeRunSpec({
      model: model.folder,
      train: { maxSteps: 4000, epochs: 999, checkpointEvery: 5 },
    });
    const run = join(await temporaryFolder(), "run");
    await interruptProgram(["train", spec, "--out", run], { run, step: 10, signal: "SIGINT" });
    rewritten(spec, (value) => Object.assign(value, { model: other.folder }));
    const refused = await runProgram(["train", spec, "--out", run, "--resume", "--allow", "model", "--json"]);
    other.remove();
    expect(jsonOf(refused)).toMatchObject({
      error: { code: "run/not-resumable", message: expect.stringContaining("another base model") },
    });
  });
});
