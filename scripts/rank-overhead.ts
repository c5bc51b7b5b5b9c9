/**
 * What a step through one rank of Ray takes beside the same step in the driver's own process: steps in turns, one of
 * each, the same rows, one thread each. Ray must run on this machine (`RAY_worker_niceness=0 ray start --head`).
 *
 * `tsx scripts/rank-overhead.ts [--model smollm2-135m] [--rounds 20] [--batch 2]` prints one JSON document.
 */
import { execa } from "execa";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { ensureEnvironment, packageRoot } from "../ts/bridge/environment/index.js";
import type { PythonBackend } from "../ts/bridge/index.js";
import { scaleSchema } from "../ts/spec/scale.js";
import { median } from "../ts/util/statistics.js";
import { beginTraining, timeStep } from "./lib/rank-training.js";

const { values } = parseArgs({
  options: {
    model: { type: "string" },
    rounds: { type: "string", default: "20" },
    batch: { type: "string", default: "2" },
    address: { type: "string", default: "auto" },
  },
});

const folder = mkdtempSync(join(tmpdir(), "milora-overhead-"));
const rowsFile = join(folder, "rows.jsonl");
const rows = Array.from({ length: Number(values.batch) }, (_, index) => index);

const tinyModel = async (python: string): Promise<string> => {
  const path = join(folder, "tiny-llama");
  await execa(python, [join(packageRoot, "test", "fixtures", "python", "make_tiny_model.py"), path]);
  return path;
};

const begin = async (python: string, model: string, onRay: boolean): Promise<PythonBackend> => {
  const scale = onRay ? scaleSchema.parse({ ranks: 1, address: values.address }) : null;
  return (await beginTraining({ python, model, rowsFile, scale })).backend;
};

try {
  // As many threads as a rank with one CPU has.
  process.env["OMP_NUM_THREADS"] = "1";
  const { python } = await ensureEnvironment();
  const words = "one of many words ".repeat(12);
  writeFileSync(rowsFile, rows.map((row) => JSON.stringify({ prompt: `${row} ${words}`, answer: words })).join("\n"));
  const model = values.model ?? (await tinyModel(python));
  const alone = await begin(python, model, false);
  const onRay = await begin(python, model, true);
  const pairs: { alone: number; onRay: number }[] = [];
  for (let round = -2; round < Number(values.rounds); round += 1) {
    // Each goes first every other time.
    const rayFirst = round % 2 === 0;
    const before = rayFirst ? await timeStep(onRay, rows) : undefined;
    const own = await timeStep(alone, rows);
    const pair = { alone: own, onRay: before ?? (await timeStep(onRay, rows)) };
    // The first rounds warm up.
    if (round >= 0) pairs.push(pair);
  }
  await onRay.call("closeModel", {});
  await Promise.all([alone.close(), onRay.close()]);
  const result = {
    model: values.model ?? "tiny",
    rounds: pairs.length,
    alone: median(pairs.map((pair) => pair.alone)),
    onRay: median(pairs.map((pair) => pair.onRay)),
    fastest: {
      alone: Math.min(...pairs.map((pair) => pair.alone)),
      onRay: Math.min(...pairs.map((pair) => pair.onRay)),
    },
    difference: median(pairs.map((pair) => pair.onRay - pair.alone)),
  };
  process.stdout.write(`${JSON.stringify(result)}\n`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
