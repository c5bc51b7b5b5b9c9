import { execa } from "execa";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "../../ts/bridge/environment/index.js";

/** A small sweep: LoRA and MiLoRA by seeds (and learning rates) on a tiny random model. */
export interface TinySweep {
  /** Where the model, the rows and the spec go. */
  readonly folder: string;
  readonly python: string;
  readonly steps: number;
  /** Steps between checkpoints, and between evaluations. */
  readonly every: number;
  readonly seeds: readonly number[];
  readonly learningRates?: readonly number[];
}

const tinyModel = async (folder: string, python: string): Promise<string> => {
  const path = join(folder, "tiny-llama");
  await execa(python, [join(packageRoot, "test", "fixtures", "python", "make_tiny_model.py"), path]);
  return path;
};

/** Writes the sweep's spec with what it needs, and gives its file. Float32 on the CPU, so that tables are comparable. */
export const writeTinySweep = async (options: TinySweep): Promise<string> => {
  const { folder, python, steps, every, seeds, learningRates = [1e-3] } = options;
  const rows = join(folder, "rows.jsonl");
  const row = (index: number) => JSON.stringify({ prompt: `What follows ${index}?`, answer: ` ${index + 1}` });
  writeFileSync(rows, Array.from({ length: 60 }, (_, index) => row(index)).join("\n"));
  const train = { maxSteps: steps, epochs: 1000, batchSize: 4, device: "cpu", dtype: "float32" };
  const sweep = {
    name: "tiny",
    model: await tinyModel(folder, python),
    spec: { data: { train: rows }, train: { ...train, checkpointEvery: every, evalEvery: every } },
    axes: {
      method: [
        { kind: "lora", rank: 4 },
        { kind: "milora", rank: 4, dropout: 0.1 },
      ],
      "train.learningRate": learningRates,
      "train.seed": seeds,
    },
    groups: [{ name: "rows" }],
  };
  const file = join(folder, "sweep.json");
  writeFileSync(file, JSON.stringify(sweep));
  return file;
};
