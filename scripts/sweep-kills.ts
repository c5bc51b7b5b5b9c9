/**
 * Kills a sweep with signal 9 at random moments, starts it again each time, and compares its end with that of an
 * undisturbed one: the same table, each step of each run once, no finished job done again.
 *
 * `tsx scripts/sweep-kills.ts [--kills 20] [--steps 40] [--seed 1]` prints one JSON document; MILORA_PYTHON names the
 * Python. The model is a tiny random one.
 */
import { execa } from "execa";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { packageRoot } from "../ts/bridge/environment/index.js";
import { seededRandom } from "../ts/util/random.js";
import { finishSweep, killSweep } from "./lib/sweep-kills.js";

const { values } = parseArgs({
  options: {
    kills: { type: "string", default: "20" },
    steps: { type: "string", default: "40" },
    seed: { type: "string", default: "1" },
  },
});

const folder = mkdtempSync(join(tmpdir(), "milora-sweep-kills-"));

const tinyModel = async (): Promise<string> => {
  const script = join(packageRoot, "test", "fixtures", "python", "make_tiny_model.py");
  const path = join(folder, "tiny-llama");
  await execa(process.env["MILORA_PYTHON"] ?? "python3", [script, path]);
  return path;
};

const specFile = async (steps: number): Promise<string> => {
  const rows = join(folder, "rows.jsonl");
  const row = (index: number) => JSON.stringify({ prompt: `What follows ${index}?`, answer: ` ${index + 1}` });
  writeFileSync(rows, Array.from({ length: 60 }, (_, index) => row(index)).join("\n"));
  const every = Math.max(1, Math.floor(steps / 8));
  const train = { maxSteps: steps, epochs: 1000, batchSize: 4, learningRate: 1e-3, device: "cpu", dtype: "float32" };
  const sweep = {
    name: "kills",
    model: await tinyModel(),
    spec: { data: { train: rows }, train: { ...train, checkpointEvery: every, evalEvery: every } },
    axes: {
      method: [
        { kind: "lora", rank: 4 },
        { kind: "milora", rank: 4, dropout: 0.1 },
      ],
      "train.seed": [0, 1],
    },
    groups: [{ name: "rows" }],
  };
  const file = join(folder, "sweep.json");
  writeFileSync(file, JSON.stringify(sweep));
  return file;
};

try {
  const steps = Number(values.steps);
  const spec = await specFile(steps);
  const command = ["--import", "tsx", join(packageRoot, "ts", "cli", "main.ts")];
  const startedAt = performance.now();
  const undisturbed = await finishSweep({ command, spec }, join(folder, "straight"));
  const onLine = (line: string): void => void process.stderr.write(`${line}\n`);
  onLine(`undisturbed: ${(undisturbed.milliseconds / 1000).toFixed(1)} s`);
  const options = {
    command,
    spec,
    folder,
    steps,
    kills: Number(values.kills),
    random: seededRandom(Number(values.seed)),
  };
  const result = await killSweep({ ...options, onLine }, undisturbed);
  const seconds = Math.round((performance.now() - startedAt) / 1000);
  process.stdout.write(`${JSON.stringify({ ...result, seconds })}\n`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
