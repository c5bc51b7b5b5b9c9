/**
 * Kills a sweep with signal 9 at random moments, starts it again each time, and compares its end with that of an
 * undisturbed one: the same table, each step of each run once, no finished job done again.
 *
 * `tsx scripts/sweep-kills.ts [--kills 20] [--steps 40] [--seed 1]` prints one JSON document; MILORA_PYTHON names the
 * Python. The model is a tiny random one.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { packageRoot } from "../ts/bridge/environment/index.js";
import { seededRandom } from "../ts/util/random.js";
import { finishSweep, killSweep } from "./lib/sweep-kills.js";
import { writeTinySweep } from "./lib/tiny-sweep.js";

const { values } = parseArgs({
  options: {
    kills: { type: "string", default: "20" },
    steps: { type: "string", default: "40" },
    seed: { type: "string", default: "1" },
  },
});

const folder = mkdtempSync(join(tmpdir(), "milora-sweep-kills-"));

try {
  const steps = Number(values.steps);
  const python = process.env["MILORA_PYTHON"] ?? "python3";
  const every = Math.max(1, Math.floor(steps / 8));
  const spec = await writeTinySweep({ folder, python, steps, every, seeds: [0, 1] });
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
