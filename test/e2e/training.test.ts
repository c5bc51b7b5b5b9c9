import { execa } from "execa";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { jsonOf, programFile, runProgram } from "../support/cli.js";
import { temporaryFolder } from "../support/temporary-folder.js";
import { makeTinyModel } from "../support/tiny-model.js";

let model: Awaited<ReturnType<typeof makeTinyModel>>;
beforeAll(async () => {
  model = await makeTinyModel();
});
afterAll(() => model.remove());

interface RunInput {
  readonly method?: object;
  readonly train?: object;
  readonly rows?: number;
}

/** A spec on the tiny model, in a folder of its own; float32, so that results can be compared bit for bit. */
const specFile = async ({
  method = { kind: "milora", rank: 4 },
  train = {},
  rows = 60,
}: RunInput = {}): Promise<string> => {
  const folder = await temporaryFolder();
  const row = (index: number) =>
    JSON.stringify({ prompt: `What follows ${index}? ${"so ".repeat(index % 7)}`, answer: ` ${index + 1}` });
  writeFileSync(join(folder, "train.jsonl"), Array.from({ length: rows }, (_, index) => row(index)).join("\n"));
  const spec = {
    model: model.folder,
    method,
    data: { train: join(folder, "train.jsonl") },
    train: {
      batchSize: 4,
      dtype: "float32",
      device: "cpu",
      learningRate: 1e-3,
      activationLearningRate: 1e-4,
      ...train,
    },
  };
  const file = join(folder, "spec.json");
  writeFileSync(file, JSON.stringify(spec));
  return file;
};

const digest = (file: string): string => createHash("sha256").update(readFileSync(file)).digest("hex");

/** Checksums of the trainables and optimisers of a checkpoint, and of the best adapter. */
const stateOf = (run: string, step: number): Readonly<Record<string, string>> => {
  const training = join(run, "checkpoints", `step-${step}`, "training");
  const tensors = readdirSync(training).filter((name) => name.endsWith(".safetensors"));
  expect(tensors.length).toBeGreaterThan(0);
  return {
    adapter: digest(join(run, "adapter", "adapter_model.safetensors")),
    ...Object.fromEntries(tensors.map((name) => [name, digest(join(training, name))])),
  };
};

const eventsOf = (run: string): readonly { readonly type: string; readonly step?: number; readonly kind?: string }[] =>
  readFileSync(join(run, "events.jsonl"), "utf8")
    .split("\n")
    .filter((line) => line.endsWith("}"))
    .map((line) => JSON.parse(line));

const weightSteps = (run: string): readonly number[] =>
  eventsOf(run).flatMap(({ type, step, kind }) =>
    type === "step" && kind === "weights" && step !== undefined ? [step] : [],
  );

/** Starts a run and calls `act` with its process once the record holds a step of at least `step`. */
const interrupt = async (args: readonly string[], run: string, step: number, signal: "SIGKILL" | "SIGINT") => {
  const child = execa("node", [programFile, ...args], { reject: false, timeout: 240_000 });
  const deadline = Date.now() + 200_000;
  while (Date.now() < deadline && child.exitCode === null) {
    if (existsSync(join(run, "events.jsonl")) && weightSteps(run).some((made) => made >= step)) break;
    await wait(20);
  }
  child.kill(signal);
  return child;
};

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
    const first = await interrupt(["train", spec, "--out", killed], killed, 10, "SIGKILL");
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
    const stopped = await interrupt(["train", spec, "--out", run, "--json"], run, 20, "SIGINT");
    expect(stopped.exitCode).toBe(130);
    const { steps, stoppedBy } = JSON.parse(stopped.stdout);
    expect(stoppedBy).toBe("interrupted");
    expect(existsSync(join(run, "checkpoints", `step-${steps}`, "loop.json"))).toBe(true);
    expect(existsSync(join(run, "adapter", "adapter_model.safetensors"))).toBe(true);
    const again = await interrupt(["train", spec, "--out", run, "--resume", "--json"], run, steps + 20, "SIGINT");
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
