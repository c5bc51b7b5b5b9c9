/**
 * Trains a tiny random model for many bi-level steps and looks at what both sides hold: Node's heap, Python's memory,
 * open files. Nothing may grow in the second half: by then Node keeps as many of the newest events as it ever will.
 *
 * `tsx scripts/soak.ts [--steps 10000] [--samples 10]` prints one JSON document; MILORA_PYTHON names the Python. Linux.
 */
import { execa } from "execa";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { packageRoot } from "../ts/bridge/environment/index.js";
import { openBackend } from "../ts/bridge/index.js";
import { runSchema } from "../ts/spec/run.js";
import { soak } from "./lib/soak.js";

const { values } = parseArgs({
  options: { steps: { type: "string", default: "10000" }, samples: { type: "string", default: "10" } },
});
const [maxSteps, samples] = [Number(values.steps), Number(values.samples)];
const python = process.env["MILORA_PYTHON"] ?? "python3";
const folder = mkdtempSync(join(tmpdir(), "milora-soak-"));

try {
  const model = join(folder, "tiny-llama");
  await execa(python, [join(packageRoot, "test", "fixtures", "python", "make_tiny_model.py"), model]);
  const rows = join(folder, "rows.jsonl");
  const row = (index: number) => JSON.stringify({ prompt: `What follows ${index}?`, answer: ` ${index + 1}` });
  writeFileSync(rows, Array.from({ length: 60 }, (_, index) => row(index)).join("\n"));
  const every = Math.max(1, Math.floor(maxSteps / samples));
  const spec = runSchema.parse({
    model,
    method: { kind: "milora", rank: 4 },
    data: { train: rows },
    train: {
      maxSteps,
      epochs: maxSteps,
      batchSize: 2,
      patience: maxSteps,
      evalEvery: every,
      checkpointEvery: every,
      device: "cpu",
      dtype: "float32",
    },
  });
  const backend = await openBackend({ python });
  await backend.call("openModel", { model, device: "cpu", dtype: "float32" });
  const tell = (sample: object): void => void process.stderr.write(`${JSON.stringify(sample)}\n`);
  const taken = await soak({ backend, spec, out: join(folder, "run"), onSample: tell });
  await backend.close();
  const [first, last] = [taken[Math.floor(taken.length / 2)], taken.at(-1)];
  if (first === undefined || last === undefined) throw new Error("There are too few steps for a sample.");
  const grown = {
    steps: last.step - first.step,
    nodeBytes: last.node - first.node,
    pythonBytes: last.python - first.python,
    files: last.nodeFiles - first.nodeFiles + last.pythonFiles - first.pythonFiles,
  };
  process.stdout.write(`${JSON.stringify({ maxSteps, first, last, grown })}\n`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
