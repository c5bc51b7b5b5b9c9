/**
 * A sweep of 12 runs over a Ray of two nodes, one of which is killed with signal 9 in the middle of a run: the table of
 * the local sweep, each step of each run once, and the run goes on from its checkpoint on the other node. Both nodes are
 * on this machine's loopback.
 *
 * `tsx scripts/ray-sweep.ts [--steps 60] [--seeds 3]` prints one JSON document; MILORA_PYTHON names a Python with ray.
 * The model is a tiny random one.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { ensureEnvironment, packageRoot } from "../ts/bridge/environment/index.js";
import { startRayNodes } from "./lib/ray-nodes.js";
import { sweepOnRay } from "./lib/ray-sweep.js";
import { finishSweep } from "./lib/sweep-kills.js";
import { writeTinySweep } from "./lib/tiny-sweep.js";

const { values } = parseArgs({
  options: { steps: { type: "string", default: "60" }, seeds: { type: "string", default: "3" } },
});

const folder = mkdtempSync(join(tmpdir(), "milora-ray-sweep-"));
const onLine = (line: string): void => void process.stderr.write(`${line}\n`);

try {
  const { python } = await ensureEnvironment();
  const steps = Number(values.steps);
  const every = Math.max(1, Math.floor(steps / 8));
  const seeds = Array.from({ length: Number(values.seeds) }, (_, seed) => seed);
  const spec = await writeTinySweep({ folder, python, steps, every, seeds, learningRates: [1e-3, 3e-3] });
  const command = ["--import", "tsx", join(packageRoot, "ts", "cli", "main.ts")];
  const straight = await finishSweep({ command, spec }, join(folder, "straight"));
  onLine(`local, one run at a time: ${(straight.milliseconds / 1000).toFixed(1)} s`);
  const ray = await startRayNodes(python, 2);
  try {
    const options = { command, spec, out: join(folder, "ray"), ray, steps, checkpointEvery: every, finishedBefore: 4 };
    const result = await sweepOnRay({ ...options, onLine }, straight.out);
    const runs = Object.keys(result.starts).length;
    process.stdout.write(`${JSON.stringify({ runs, localSeconds: straight.milliseconds / 1000, ...result })}\n`);
  } finally {
    await ray.stop();
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
