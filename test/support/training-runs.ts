import { execa } from "execa";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { expect } from "vitest";
import { programFile } from "./cli.js";
import { temporaryFolder } from "./temporary-folder.js";

export interface RunInput {
  readonly model: string;
  readonly method?: object;
  readonly train?: object;
  readonly rows?: number;
}

/** A run's spec in a folder of its own; float32, so that results can be compared bit for bit. */
export const writeRunSpec = async ({
  model,
  method = { kind: "milora", rank: 4 },
  train = {},
  rows = 60,
}: RunInput): Promise<string> => {
  const folder = await temporaryFolder();
  const row = (index: number) =>
    JSON.stringify({ prompt: `What follows ${index}? ${"so ".repeat(index % 7)}`, answer: ` ${index + 1}` });
  writeFileSync(join(folder, "train.jsonl"), Array.from({ length: rows }, (_, index) => row(index)).join("\n"));
  const spec = {
    model,
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
export const stateOf = (run: string, step: number): Readonly<Record<string, string>> => {
  const training = join(run, "checkpoints", `step-${step}`, "training");
  const tensors = readdirSync(training).filter((name) => name.endsWith(".safetensors"));
  expect(tensors.length).toBeGreaterThan(0);
  return {
    adapter: digest(join(run, "adapter", "adapter_model.safetensors")),
    ...Object.fromEntries(tensors.map((name) => [name, digest(join(training, name))])),
  };
};

/** The events that a run's folder holds, also of a run in progress. */
export const eventsOf = (
  run: string,
): readonly { readonly type: string; readonly step?: number; readonly kind?: string; readonly name?: string }[] =>
  readFileSync(join(run, "events.jsonl"), "utf8")
    .split("\n")
    .filter((line) => line.endsWith("}"))
    .map((line) => JSON.parse(line));

export const weightSteps = (run: string): readonly number[] =>
  eventsOf(run).flatMap(({ type, step, kind }) =>
    type === "step" && kind === "weights" && step !== undefined ? [step] : [],
  );

/** Starts the program and sends its process a signal once the run's record holds a step of at least `step`. */
export const interruptProgram = async (
  args: readonly string[],
  { run, step, signal }: { readonly run: string; readonly step: number; readonly signal: "SIGKILL" | "SIGINT" },
) => {
  const child = execa("node", [programFile, ...args], { reject: false, timeout: 240_000 });
  const deadline = Date.now() + 200_000;
  while (Date.now() < deadline && child.exitCode === null) {
    if (existsSync(join(run, "events.jsonl")) && weightSteps(run).some((made) => made >= step)) break;
    await wait(5);
  }
  child.kill(signal);
  return child;
};
