/**
 * Kills a bi-level run with signal 9 at random moments, resumes it each time, and compares the end with that of an
 * undisturbed run: trainables, optimisers, random states and the best adapter bit for bit, the record step by step.
 *
 * `tsx scripts/kills.ts [--kills 50] [--steps 200] [--model <model>] [--batch 4] [--seed 1]` prints one JSON document;
 * MILORA_PYTHON names the Python. Without --model a tiny random one is made. With `--ranks 2 --part rank` (or driver,
 * head) the run has ranks of Ray, and one of them, the Python that drives them, or Ray's head is killed instead of the
 * program, which must end by itself with a typed error and leave no process.
 */
import { execa } from "execa";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { z } from "zod";
import { packageRoot } from "../ts/bridge/environment/index.js";
import { seededRandom } from "../ts/util/random.js";
import { killAndResume } from "./lib/kills.js";

const { values } = parseArgs({
  options: {
    kills: { type: "string", default: "50" },
    steps: { type: "string", default: "200" },
    model: { type: "string" },
    batch: { type: "string", default: "4" },
    seed: { type: "string", default: "1" },
    ranks: { type: "string", default: "1" },
    part: { type: "string" },
  },
});

const folder = mkdtempSync(join(tmpdir(), "milora-kills-"));

const part = z.enum(["rank", "driver", "head"]).optional().parse(values.part);
const ranks = Number(values.ranks);

const tinyModel = async (): Promise<string> => {
  const script = join(packageRoot, "test", "fixtures", "python", "make_tiny_model.py");
  const path = join(folder, "tiny-llama");
  await execa(process.env["MILORA_PYTHON"] ?? "python3", [script, path]);
  return path;
};

const rowsFile = (): string => {
  const file = join(folder, "rows.jsonl");
  const row = (index: number) =>
    JSON.stringify({ prompt: `What follows ${index}? ${"so ".repeat(index % 7)}`, answer: ` ${index + 1}` });
  writeFileSync(file, Array.from({ length: 60 }, (_, index) => row(index)).join("\n"));
  return file;
};

try {
  const maxSteps = Number(values.steps);
  const spec = {
    model: values.model ?? (await tinyModel()),
    method: { kind: "milora", rank: 4, dropout: 0.1 },
    data: { train: rowsFile() },
    train: {
      maxSteps,
      epochs: 1000,
      batchSize: Number(values.batch),
      learningRate: 1e-3,
      activationLearningRate: 1e-4,
      checkpointEvery: Math.max(1, Math.floor(maxSteps / 25)),
      evalEvery: Math.max(1, Math.floor(maxSteps / 20)),
      patience: 1000,
      device: "cpu",
      dtype: "float32",
    },
    ...(ranks === 1 ? {} : { scale: { ranks, cpusPerRank: 0.5 } }),
  };
  const command = ["--import", "tsx", join(packageRoot, "ts", "cli", "main.ts")];
  const start = performance.now();
  const result = await killAndResume({
    command,
    spec,
    folder,
    kills: Number(values.kills),
    part,
    random: seededRandom(Number(values.seed)),
    onLine: (line) => process.stderr.write(`${line}\n`),
  });
  const seconds = Math.round((performance.now() - start) / 1000);
  process.stdout.write(
    `${JSON.stringify({ ...result, model: values.model ?? "tiny", steps: maxSteps, ranks, part, seconds })}\n`,
  );
} finally {
  rmSync(folder, { recursive: true, force: true });
}
