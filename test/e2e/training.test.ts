import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { jsonOf, runProgram } from "../support/cli.js";
import { temporaryFolder } from "../support/temporary-folder.js";
import { makeTinyModel } from "../support/tiny-model.js";
import {
  eventsOf,
  interruptProgram,
  stateOf,
  weightSteps,
  writeRunSpec,
  type RunInput,
} from "../support/training-runs.js";

let model: Awaited<ReturnType<typeof makeTinyModel>>;
beforeAll(async () => {
  model = await makeTinyModel();
});
afterAll(() => model.remove());

const specFile = (input: Omit<RunInput, "model"> = {}): Promise<string> =>
  writeRunSpec({ ...input, model: model.folder });

describe("milora train", () => {
  it.each([
    ["milora", { kind: "milora", rank: 4, dropout: 0.1 }],
    ["lora", { kind: "lora", rank: 4, dropout: 0.1 }],
  ])("%s: 20 steps = 10 and some, kill -9, and --resume, bit for bit", async (_name, method) => {
    const spec = await specFile({ method, train: { maxSteps: 20, checkpointEvery: 5, evalEvery: 5, epochs: 9 } });
    const folder = await temporaryFolder();
    const [straight, killed] = [join(folder, "straight"), join(folder, "killed")];
    expect((await runProgram(["train", spec, "--out", straight])).exitCode).toBe(0);
    // Figures are read at checkpoints at the latest: the record shows step 10 once its checkpoint is under way.
    const first = await interruptProgram(["train", spec, "--out", killed], {
      run: killed,
      step: 10,
      signal: "SIGKILL",
    });
    expect(first.signal).toBe("SIGKILL");
    const resumed = await runProgram(["train", spec, "--out", killed, "--resume", "--json"]);
    expect(resumed.exitCode).toBe(0);
    expect(jsonOf(resumed)).toMatchObject({ steps: 20, stoppedBy: "max-steps" });
    expect(stateOf(killed, 20)).toEqual(stateOf(straight, 20));
    expect(weightSteps(killed)).toEqual(Array.from({ length: 20 }, (_, index) => index + 1));
    const resumedAt = eventsOf(killed).filter(({ type }) => type === "started").length;
    expect(resumedAt).toBeGreaterThan(0);
  });

  it("stops on Ctrl-C after the step, saved, with code 130, and goes on", async () => {
    const spec = await specFile({ train: { maxSteps: 4000, epochs: 400, evalEvery: 50 } });
    const run = join(await temporaryFolder(), "run");
    const stopped = await interruptProgram(["train", spec, "--out", run, "--json"], {
      run,
      step: 20,
      signal: "SIGINT",
    });
    expect(stopped.exitCode).toBe(130);
    const { steps, stoppedBy } = JSON.parse(stopped.stdout);
    expect(stoppedBy).toBe("interrupted");
    expect(existsSync(join(run, "checkpoints", `step-${steps}`, "loop.json"))).toBe(true);
    expect(existsSync(join(run, "adapter", "adapter_model.safetensors"))).toBe(true);
    const again = await interruptProgram(["train", spec, "--out", run, "--resume", "--json"], {
      run,
      step: steps + 20,
      signal: "SIGINT",
    });
    expect(JSON.parse(again.stdout).steps).toBeGreaterThan(steps);
  });

  it("is the same whatever the micro-batch, to float32's rounding", async () => {
    const losses = async (microBatch: number): Promise<readonly number[]> => {
      const run = join(await temporaryFolder(), "run");
      const spec = await specFile({ train: { maxSteps: 6, batchSize: 8, microBatch } });
      expect((await runProgram(["train", spec, "--out", run])).exitCode).toBe(0);
      return readFileSync(join(run, "events.jsonl"), "utf8")
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line))
        .flatMap((event) => (event.type === "step" ? [event.loss, event.balance] : []));
    };
    const [whole, thirds] = [await losses(8), await losses(3)];
    expect(whole.length).toBeGreaterThanOrEqual(12);
    whole.forEach((loss, index) => expect(Math.abs(loss - (thirds[index] ?? Number.NaN))).toBeLessThan(2e-5));
  });

  it("names file, line and field of a malformed row and trains nothing", async () => {
    const spec = await specFile();
    const file = JSON.parse(readFileSync(spec, "utf8")).data.train;
    writeFileSync(file, `${readFileSync(file, "utf8")}\n{"prompt": "no answer here"}\n`);
    const run = join(await temporaryFolder(), "run");
    const result = await runProgram(["train", spec, "--out", run, "--json"]);
    expect(result.exitCode).toBe(2);
    expect(jsonOf(result)).toMatchObject({ error: { code: "data/bad-row", line: 61 } });
    expect(result.stderr).toContain("answer");
    expect(existsSync(run)).toBe(false);
  });

  it("refuses an adapter that was trained on another model", async () => {
    const run = join(await temporaryFolder(), "run");
    const spec = await specFile({ train: { maxSteps: 1 } });
    expect((await runProgram(["train", spec, "--out", run])).exitCode).toBe(0);
    const args = [
      "generate",
      "--model",
      "smollm2-135m",
      "--adapter",
      `a=${join(run, "adapter")}`,
      "--prompt",
      "Hi",
      "--json",
    ];
    const result = await runProgram(args);
    expect(result.exitCode).toBe(2);
    expect(jsonOf(result)).toMatchObject({ error: { code: "adapter/mismatch" } });
  });
});
