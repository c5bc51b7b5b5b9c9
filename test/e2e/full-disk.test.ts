import { execaSync } from "execa";
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { newestCheckpoint } from "../../ts/runs/checkpoint.js";
import { jsonOf, runProgram } from "../support/cli.js";
import { temporaryFolder } from "../support/temporary-folder.js";
import { makeTinyModel } from "../support/tiny-model.js";
import { writeRunSpec } from "../support/training-runs.js";

/** Mounts a small file system; only root may, and only on Linux. */
const mountSmallDisk = (folder: string, megabytes: number): boolean => {
  mkdirSync(folder);
  const { exitCode } = execaSync("mount", ["-t", "tmpfs", "-o", `size=${megabytes}m`, "tmpfs", folder], {
    reject: false,
  });
  return exitCode === 0;
};

let model: Awaited<ReturnType<typeof makeTinyModel>>;
beforeAll(async () => {
  model = await makeTinyModel();
});
afterAll(() => model.remove());

describe("a full disk", () => {
  it("ends a run with its last checkpoint whole, and the run goes on when there is room", async (context) => {
    const parent = await temporaryFolder();
    const disk = join(parent, "disk");
    if (!mountSmallDisk(disk, 2)) context.skip("a small file system can't be mounted here (needs root on Linux)");
    try {
      writeFileSync(
        join(parent, "train.jsonl"),
        Array.from({ length: 60 }, (_, index) =>
          JSON.stringify({ prompt: `What follows ${index}?`, answer: ` ${index + 1}` }),
        ).join("\n"),
      );
      const spec = {
        model: model.folder,
        method: { kind: "milora", rank: 4 },
        data: { train: join(parent, "train.jsonl") },
        train: { maxSteps: 40, epochs: 40, batchSize: 4, checkpointEvery: 1, keepCheckpoints: 50, dtype: "float32" },
      };
      writeFileSync(join(parent, "spec.json"), JSON.stringify(spec));
      const args = ["train", join(parent, "spec.json"), "--out", join(disk, "run"), "--json"];
      const failed = await runProgram(args);
      expect(failed.exitCode).toBe(1);
      expect(jsonOf(failed)).toMatchObject({ error: { code: "run/disk" } });
      const checkpoints = join(disk, "run", "checkpoints");
      const { checkpoint: newest } = await newestCheckpoint(checkpoints);
      expect(newest?.state.step).toBeGreaterThan(0);
      expect(readdirSync(checkpoints).filter((name) => name.endsWith(".partial"))).toEqual([]);
      expect(readFileSync(join(newest?.folder ?? "", "training", "training.json"), "utf8")).toContain("{");
      for (const name of readdirSync(checkpoints))
        if (name !== `step-${newest?.state.step}`) rmSync(join(checkpoints, name), { recursive: true });
      const resumed = await runProgram([...args, "--resume"]);
      // Forty checkpoints fill the disk once more; what counts is that the run went on from the whole one.
      const { checkpoint: after } = await newestCheckpoint(checkpoints);
      expect(after?.state.step).toBeGreaterThan(newest?.state.step ?? 0);
      expect([0, 1]).toContain(resumed.exitCode);
    } finally {
      execaSync("umount", [disk]);
    }
  });

  it("that is read-only is refused before anything is computed, for a new run and for one to go on with", async (context) => {
    const parent = await temporaryFolder();
    const disk = join(parent, "disk");
    if (!mountSmallDisk(disk, 8)) context.skip("a small file system can't be mounted here (needs root on Linux)");
    try {
      const spec = await writeRunSpec({ model: model.folder, train: { maxSteps: 2, epochs: 9 } });
      const args = (run: string) => ["train", spec, "--out", join(disk, run), "--json"];
      expect((await runProgram(args("whole"))).exitCode).toBe(0);
      execaSync("mount", ["-o", "remount,ro", disk]);
      for (const run of [args("new"), [...args("whole"), "--resume"]]) {
        const refused = await runProgram(run);
        expect(refused.exitCode).toBe(1);
        expect(jsonOf(refused)).toMatchObject({ error: { code: "run/disk", found: "EROFS" } });
      }
      const { model: name, ...of } = JSON.parse(readFileSync(spec, "utf8"));
      const sweep = join(parent, "sweep.json");
      writeFileSync(sweep, JSON.stringify({ name: "s", model: name, groups: [{ name: "g", spec: of }] }));
      const refused = await runProgram(["sweep", sweep, "--out", join(disk, "sweep"), "--json"]);
      expect(refused.exitCode).toBe(1);
      expect(jsonOf(refused)).toMatchObject({ error: { code: "run/disk", found: "EROFS" } });
    } finally {
      execaSync("umount", [disk]);
    }
  });
});
