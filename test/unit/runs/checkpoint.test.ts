import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { newestCheckpoint, pruneCheckpoints, writeCheckpoint, type LoopState } from "../../../ts/runs/checkpoint.js";
import { temporaryFolder } from "../../support/temporary-folder.js";

const state = (step: number): LoopState => ({
  format: 1,
  step,
  phase: 1,
  epoch: 0,
  batch: step,
  devEpoch: 0,
  devBatch: 0,
  best: { step: 1, devPerplexity: 2.5 },
  evaluationsWithoutBest: 0,
  eventBytes: 12,
  seconds: 1.5,
  tokens: 99,
});

const saveTensors = async (folder: string): Promise<void> => {
  mkdirSync(folder);
  writeFileSync(join(folder, "tensors"), "weights");
};

describe("checkpoints", () => {
  it("come back as they were written, the newest first", async () => {
    const folder = await temporaryFolder();
    await writeCheckpoint(folder, state(9), saveTensors);
    await writeCheckpoint(folder, state(10), saveTensors);
    const newest = newestCheckpoint(folder);
    expect(newest?.state).toEqual(state(10));
    expect(readFileSync(join(newest?.folder ?? "", "training", "tensors"), "utf8")).toBe("weights");
  });

  it("stay whole when a later save fails half-way, and nothing half-made is left", async () => {
    const folder = await temporaryFolder();
    await writeCheckpoint(folder, state(1), saveTensors);
    const full = Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
    const failing = writeCheckpoint(folder, state(2), async (path) => {
      await saveTensors(path);
      throw full;
    });
    await expect(failing).rejects.toMatchObject({ code: "run/disk", cause: full });
    expect(readdirSync(folder)).toEqual(["step-1"]);
    expect(newestCheckpoint(folder)?.state.step).toBe(1);
  });

  it("are passed over when they are not whole", async () => {
    const folder = await temporaryFolder();
    await writeCheckpoint(folder, state(3), saveTensors);
    mkdirSync(join(folder, "step-4.partial", "training"), { recursive: true });
    mkdirSync(join(folder, "step-5"));
    await writeCheckpoint(folder, state(6), saveTensors);
    const loop = join(folder, "step-6", "loop.json");
    writeFileSync(loop, readFileSync(loop, "utf8").replace('\\"tokens\\":99', '\\"tokens\\":98'));
    expect(newestCheckpoint(folder)?.state.step).toBe(3);
  });

  it("are pruned to the newest ones, with what killed saves left", async () => {
    const folder = await temporaryFolder();
    for (const step of [1, 2, 10]) await writeCheckpoint(folder, state(step), saveTensors);
    mkdirSync(join(folder, "step-11.partial"));
    pruneCheckpoints(folder, 2);
    expect(readdirSync(folder).toSorted()).toEqual(["step-10", "step-2"]);
  });

  it("without a phase, as older versions wrote them, are of the first", async () => {
    const folder = await temporaryFolder();
    const { phase: _none, ...older } = state(3);
    const text = JSON.stringify(older);
    const sha256 = createHash("sha256").update(text).digest("hex");
    mkdirSync(join(folder, "step-3"));
    writeFileSync(join(folder, "step-3", "loop.json"), JSON.stringify({ state: text, sha256 }));
    expect(newestCheckpoint(folder)?.state).toEqual({ ...state(3), phase: 0 });
  });

  it("are none where there is no folder", async () => {
    const folder = join(await temporaryFolder(), "missing");
    expect(newestCheckpoint(folder)).toBeUndefined();
    expect(existsSync(folder)).toBe(false);
  });
});
