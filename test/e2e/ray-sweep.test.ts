import { execa } from "execa";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { describe, expect, it, onTestFinished } from "vitest";
import { type RayNodes, startRayNodes } from "../../scripts/lib/ray-nodes.js";
import { sweepOnRay } from "../../scripts/lib/ray-sweep.js";
import { finishSweep, jobsIn, recordedSteps } from "../../scripts/lib/sweep-kills.js";
import { writeTinySweep } from "../../scripts/lib/tiny-sweep.js";
import { jsonOf, programFile, runProgram } from "../support/cli.js";
import { temporaryFolder } from "../support/temporary-folder.js";

const python = process.env["MILORA_PYTHON"] ?? "python3";
const { exitCode: noRay } = await execa(python, ["-c", "import ray, psutil"], { reject: false });

const [steps, every] = [100, 10];

const specIn = (folder: string): Promise<string> => writeTinySweep({ folder, python, steps, every, seeds: [0, 1] });

/** Everything that runs for a sweep on the two nodes. */
const atWork = async (ray: RayNodes, out: string): Promise<readonly string[]> => {
  const commands = (await Promise.all([0, 1].map((node) => ray.commandsOn(node)))).flat();
  return commands.map((words) => words.join(" ")).filter((command) => command.includes(out));
};

/** How many runs have made so many steps. */
const trained = (out: string, step: number): number =>
  jobsIn(out).filter(({ id }) => (recordedSteps(join(out, "runs", id, "run")).at(-1) ?? 0) >= step).length;

describe.skipIf(noRay !== 0)(
  `milora sweep --ray${noRay === 0 ? "" : " (needs the Python packages ray and psutil)"}`,
  () => {
    it("says that nobody answers, and leaves the sweep to be gone on with", async () => {
      const folder = await temporaryFolder();
      const out = join(folder, "out");
      const nobody = await runProgram(["sweep", await specIn(folder), "--out", out, "--ray", "127.0.0.1:1", "--json"]);
      expect(nobody.exitCode).toBe(1);
      expect(jsonOf(nobody)).toMatchObject({ error: { code: "scale/unreachable", path: "ray.address" } });
      expect(jobsIn(out).map(({ state }) => state)).toEqual(Array.from({ length: 4 }, () => "waiting"));
    });

    it("stopped, gone on with, and robbed of a node: the table of the local sweep, from checkpoints", async () => {
      const folder = await temporaryFolder();
      const out = join(folder, "ray");
      const spec = await specIn(folder);
      const straight = await finishSweep({ command: [programFile], spec }, join(folder, "straight"));
      const ray = await startRayNodes(python, 2);
      onTestFinished(() => ray.stop());

      const args = [programFile, "sweep", spec, "--out", out, "--ray", ray.address];
      const stopped = execa("node", args, { reject: false, env: ray.env, timeout: 240_000 });
      while (stopped.exitCode === null && (trained(out, 1) < 2 || trained(out, every) < 1)) await wait(100);
      expect(await atWork(ray, out)).not.toEqual([]);
      stopped.kill("SIGINT");
      const { exitCode, stderr } = await stopped;
      expect(exitCode, stderr).toBe(130);
      expect(await atWork(ray, out)).toEqual([]);
      const states = jobsIn(out).map(({ state }) => state);
      expect(states).toContain("stopped");
      expect(states).not.toContain("running");

      const options = { command: [programFile], spec, out, ray, steps, checkpointEvery: every, finishedBefore: 0 };
      const { starts } = await sweepOnRay(options, straight.out);
      // One that was stopped, and one whose node was lost, unless that was the same.
      expect(Object.values(starts).filter((each) => each.length > 1).length).toBeGreaterThan(0);
    }, 600_000);
  },
);
