import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { restoreBestAdapter } from "../../../ts/runs/best-adapter.js";
import { newestCheckpoint, pruneCheckpoints, writeCheckpoint, type LoopState } from "../../../ts/runs/checkpoint.js";
import { temporaryFolder } from "../../support/temporary-folder.js";

const state = (step: number): LoopState => ({
  step,
  phase: 1,
  epoch: 0,
  batch: step,
  devEpoch: 0,
  devBatch: 0,
  best: { step: 1, devPerplexity: 2.5 },
  evaluationsWithoutBest: 0,
  evaluatedAt: 4,
  skipped: { total: 2, inARow: { weights: 1, activation: 0 } },
  microBatch: 4,
  rateFactor: 0.5,
  eventBytes: 12,
  seconds: 1.5,
  tokens: 99,
});

const saveTensors = async (folder: string): Promise<void> => {
  mkdirSync(folder);
  writeFileSync(join(folder, "tensors"), "weights");
};

const write = (checkpoints: string, step: number, best?: string): Promise<string> =>
  writeCheckpoint({ checkpoints, state: state(step), saveTensors, best });

const adapterIn = async (text: string): Promise<string> => {
  const folder = join(await temporaryFolder(), "adapter");
  mkdirSync(folder);
  writeFileSync(join(folder, "adapter_model.safetensors"), text);
  writeFileSync(join(folder, "adapter_config.json"), "{}");
  return folder;
};

describe("checkpoints", () => {
  it("come back as they were written, the newest first", async () => {
    const folder = await temporaryFolder();
    await write(folder, 9);
    await write(folder, 10);
    const { checkpoint, passedOver } = await newestCheckpoint(folder);
    expect(checkpoint?.state).toEqual(state(10));
    expect(passedOver).toEqual([]);
    expect(readFileSync(join(checkpoint?.folder ?? "", "training", "tensors"), "utf8")).toBe("weights");
  });

  it("stay whole when a later save fails half-way, and nothing half-made is left", async () => {
    const folder = await temporaryFolder();
    await write(folder, 1);
    const full = Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
    const failing = writeCheckpoint({
      checkpoints: folder,
      state: state(2),
      saveTensors: async (path) => {
        await saveTensors(path);
        throw full;
      },
    });
    await expect(failing).rejects.toMatchObject({ code: "run/disk", cause: full });
    expect(readdirSync(folder)).toEqual(["step-1"]);
    expect((await newestCheckpoint(folder)).checkpoint?.state.step).toBe(1);
  });

  it.each([
    ["the loop's state", join("loop.json")],
    ["the tensors", join("training", "tensors")],
    ["the best adapter", join("best", "adapter_model.safetensors")],
  ])("with a flipped byte in %s are passed over, said aloud", async (_name, file) => {
    const folder = await temporaryFolder();
    await write(folder, 3);
    mkdirSync(join(folder, "step-4.partial", "training"), { recursive: true });
    await write(folder, 6, await adapterIn("best weights"));
    const path = join(folder, "step-6", file);
    const bytes = readFileSync(path);
    bytes[Math.floor(bytes.length / 2)] = (bytes[Math.floor(bytes.length / 2)] ?? 0) ^ 1;
    writeFileSync(path, bytes);
    const { checkpoint, passedOver } = await newestCheckpoint(folder);
    expect(checkpoint?.state.step).toBe(3);
    expect(passedOver).toHaveLength(1);
    expect(passedOver[0]).toContain("step-6");
  });

  it("without a file of theirs, or without a state, are passed over", async () => {
    const folder = await temporaryFolder();
    await write(folder, 3);
    mkdirSync(join(folder, "step-5"));
    await write(folder, 6);
    renameSync(join(folder, "step-6", "training", "tensors"), join(folder, "step-6", "training", "other"));
    const { checkpoint, passedOver } = await newestCheckpoint(folder);
    expect(checkpoint?.state.step).toBe(3);
    expect(passedOver.map((text) => text.replace(folder, ""))).toEqual([
      "The checkpoint /step-6 is passed over: training/tensors cannot be read.",
      "The checkpoint /step-5 is passed over: loop.json is missing or garbled.",
    ]);
  });

  it("of a newer format are refused by name", async () => {
    const folder = await temporaryFolder();
    await write(folder, 3);
    mkdirSync(join(folder, "step-4"));
    writeFileSync(join(folder, "step-4", "loop.json"), JSON.stringify({ format: 3, state: "?", sha256: "?" }));
    await expect(newestCheckpoint(folder)).rejects.toMatchObject({
      code: "run/not-resumable",
      file: join(folder, "step-4"),
      found: "3",
    });
  });

  it("of the same step are replaced without a moment between", async () => {
    const folder = await temporaryFolder();
    await write(folder, 3);
    // As a kill leaves it right after the old one stepped aside.
    renameSync(join(folder, "step-3"), join(folder, "step-3.old"));
    expect((await newestCheckpoint(folder)).checkpoint?.folder).toBe(join(folder, "step-3.old"));
    await write(folder, 3);
    await write(folder, 3);
    expect(readdirSync(folder)).toEqual(["step-3"]);
  });

  it("are pruned to the newest ones and the best, with what killed saves left and what was cut off", async () => {
    const folder = await temporaryFolder();
    for (const step of [1, 2, 3, 9, 10, 20]) await write(folder, step);
    mkdirSync(join(folder, "step-11.partial"));
    writeFileSync(join(folder, "notes.txt"), "mine");
    pruneCheckpoints(folder, { keep: 2, step: 10, best: 2 });
    expect(readdirSync(folder).toSorted()).toEqual(["notes.txt", "step-10", "step-2", "step-9"]);
  });

  it("hold the best adapter so far, and give it back", async () => {
    const folder = await temporaryFolder();
    const adapter = await adapterIn("best weights");
    await write(folder, 5, adapter);
    // A run that went on saved a better one, and was killed within the next save.
    const fresh = join(adapter, "..", "fresh");
    mkdirSync(fresh);
    writeFileSync(join(fresh, "adapter_model.safetensors"), "later weights");
    renameSync(adapter, join(adapter, "..", ".adapter.old-1"));
    renameSync(fresh, adapter);
    restoreBestAdapter(join(folder, "step-5"), adapter);
    expect(readFileSync(join(adapter, "adapter_model.safetensors"), "utf8")).toBe("best weights");
    expect(readdirSync(join(adapter, ".."))).toEqual(["adapter"]);
  });

  it("without a phase, as older versions wrote them, are of the first", async () => {
    const folder = await temporaryFolder();
    const {
      phase: _none,
      skipped: _skipped,
      microBatch: _rows,
      rateFactor: _factor,
      evaluatedAt: _at,
      ...older
    } = state(3);
    const text = JSON.stringify({ format: 1, ...older });
    const sha256 = createHash("sha256").update(text).digest("hex");
    mkdirSync(join(folder, "step-3"));
    writeFileSync(join(folder, "step-3", "loop.json"), JSON.stringify({ state: text, sha256 }));
    expect((await newestCheckpoint(folder)).checkpoint?.state).toEqual({
      ...older,
      phase: 0,
      evaluatedAt: null,
      skipped: { total: 0, inARow: { weights: 0, activation: 0 } },
      microBatch: null,
      rateFactor: 1,
    });
  });

  it("are none where there is no folder", async () => {
    const folder = join(await temporaryFolder(), "missing");
    expect((await newestCheckpoint(folder)).checkpoint).toBeUndefined();
    expect(existsSync(folder)).toBe(false);
  });
});
