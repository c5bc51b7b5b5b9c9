import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { TrainEvent } from "../../../ts/runs/events.js";
import type { RunSpec } from "../../../ts/spec/run.js";
import { scaleSchema } from "../../../ts/spec/scale.js";
import { savedNumbers } from "../../support/fake-books.js";
import { createFakeTraining } from "../../support/fake-training.js";
import { recordOf, specWith, startFineTuning as start } from "../../support/fine-tuning.js";
import { temporaryFolder } from "../../support/temporary-folder.js";

const runIn = async (): Promise<string> => join(await temporaryFolder(), "run");

/** A run that was stopped after so many steps. */
const stoppedAt = async (step: number, spec: RunSpec, devLossAt = (at: number) => 1 / at): Promise<string> => {
  const out = await runIn();
  const decide = (event: TrainEvent) =>
    event.type === "step" && event.step >= step ? { stop: "seen enough" } : undefined;
  const result = await start({ backend: createFakeTraining({ devLossAt }), spec, out, decide }).result;
  expect(result).toMatchObject({ steps: step, stoppedBy: "seen enough" });
  return out;
};

const manifestOf = (out: string) => JSON.parse(readFileSync(join(out, "run.json"), "utf8"));

const warningsOf = (out: string): readonly string[] =>
  recordOf(out).flatMap((event) => (event.type === "warning" ? [event.message] : []));

const stepsOf = (out: string): readonly number[] =>
  recordOf(out).flatMap((event) => (event.type === "step" && event.kind === "weights" ? [event.step] : []));

const sourceOf = ({ data }: RunSpec): string => ("train" in data ? data.train : "");

describe("a resumed run", () => {
  it("keeps its patience, its best step and its numbers", async () => {
    const spec = await specWith({ maxSteps: 60, evalEvery: 2, patience: 4, checkpointEvery: 3 });
    const devLossAt = (step: number): number => Math.abs(step - 6) + 1;
    const straight = await runIn();
    const expected = await start({ backend: createFakeTraining({ devLossAt }), spec, out: straight }).result;
    expect(expected).toMatchObject({ stoppedBy: "patience", steps: 14, best: { step: 6 } });
    // Also at an evaluation's own step, which the stop cuts short.
    for (const step of [5, 6, 10, 13]) {
      const out = await stoppedAt(step, spec, devLossAt);
      const result = await start({ backend: createFakeTraining({ devLossAt }), spec, out, resume: true }).result;
      expect(result, `stopped at ${step}`).toMatchObject({ stoppedBy: "patience", steps: 14, best: { step: 6 } });
      expect(savedNumbers(join(out, "checkpoints", "step-14", "training"))).toBe(
        savedNumbers(join(straight, "checkpoints", "step-14", "training")),
      );
      expect(savedNumbers(join(out, "adapter"))).toBe(savedNumbers(join(straight, "adapter")));
    }
  });

  it("goes on at another number of ranks where that is allowed, and on other machines anyway", async () => {
    const spec = await specWith({ maxSteps: 6, checkpointEvery: 2 });
    const out = await stoppedAt(4, { ...spec, scale: scaleSchema.parse({ ranks: 2 }) });
    const again = (scale: object, allow: readonly string[]) =>
      start({
        backend: createFakeTraining(),
        spec: { ...spec, scale: scaleSchema.parse(scale) },
        out,
        resume: true,
        allow,
      }).result;
    await expect(again({ ranks: 3 }, [])).rejects.toMatchObject({
      code: "run/not-resumable",
      problems: ["scale.ranks: 2 → 3"],
    });
    const elsewhere = { ranks: 3, address: "head:6379", waitMinutes: 5, cpusPerRank: 4 };
    await expect(again(elsewhere, ["scale.ranks"])).resolves.toMatchObject({ steps: 6 });
  });

  it("lists what changed in the spec, and goes on where it is allowed by name", async () => {
    const spec = await specWith({ maxSteps: 9, checkpointEvery: 2 });
    const out = await stoppedAt(4, spec);
    const longer = { ...spec, train: { ...spec.train, maxSteps: 12, patience: 3 } };
    const again = (changed: RunSpec, allow: readonly string[]) =>
      start({ backend: createFakeTraining(), spec: changed, out, resume: true, allow }).result;
    await expect(again(longer, ["train.maxSteps"])).rejects.toMatchObject({
      code: "run/not-resumable",
      problems: ["train.patience: 10 → 3"],
    });
    await expect(again(longer, ["train.maxStep"])).rejects.toThrow('Did you mean "train.maxSteps"?');
    const other = { ...spec, train: { ...spec.train, batchSize: 4 } };
    await expect(again(other, ["train.batchSize"])).rejects.toMatchObject({ code: "input/unknown-name" });
    expect(await again(longer, ["train.maxSteps", "train.patience"])).toMatchObject({ steps: 12 });
    expect(manifestOf(out)).toMatchObject({
      spec: { train: { maxSteps: 12, patience: 3 } },
      changes: [{ step: 4, changed: ["train.maxSteps: 9 → 12", "train.patience: 10 → 3"] }],
    });
    expect(warningsOf(out)).toContain("Changed by name: train.maxSteps: 9 → 12.");
  });

  it("refuses a data file that changed since, by its name, and goes on without one that is gone", async () => {
    const spec = await specWith({ maxSteps: 6, checkpointEvery: 2 });
    const out = await stoppedAt(3, spec);
    const file = sourceOf(spec);
    const rows = readFileSync(file, "utf8");
    writeFileSync(file, rows.replace("question 7", "question seven"));
    const again = () => start({ backend: createFakeTraining(), spec, out, resume: true }).result;
    await expect(again()).rejects.toMatchObject({ code: "run/not-resumable", file });
    rmSync(file);
    expect(await again()).toMatchObject({ steps: 6 });
    expect(warningsOf(out)[0]).toContain(`${file}) is gone`);
  });

  it("goes on from the older checkpoint where a byte of the newest flipped, and says so", async () => {
    const spec = await specWith({ maxSteps: 6, checkpointEvery: 2, evalEvery: 2, keepCheckpoints: 3 });
    const straight = await runIn();
    await start({ backend: createFakeTraining(), spec, out: straight }).result;
    const out = await stoppedAt(5, spec, () => 1);
    const damaged = join(out, "checkpoints", "step-5", "training", "state.json");
    writeFileSync(damaged, readFileSync(damaged, "utf8").replace('"step":5', '"step":4'));
    await start({ backend: createFakeTraining(), spec, out, resume: true }).result;
    expect(warningsOf(out)[0]).toMatch(/step-5 is passed over: training\/state\.json is not as it was written/);
    expect(stepsOf(out)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(savedNumbers(join(out, "checkpoints", "step-6", "training"))).toBe(
      savedNumbers(join(straight, "checkpoints", "step-6", "training")),
    );
  });

  it("is refused where no checkpoint is whole, and nothing of the record is touched", async () => {
    const spec = await specWith({ maxSteps: 6 });
    const out = await stoppedAt(3, spec);
    for (const name of readdirSync(join(out, "checkpoints")))
      writeFileSync(join(out, "checkpoints", name, "loop.json"), "{}");
    const before = readFileSync(join(out, "events.jsonl"), "utf8");
    const again = start({ backend: createFakeTraining(), spec, out, resume: true });
    await expect(again.result).rejects.toThrow(/No checkpoint .* is whole/);
    expect(readFileSync(join(out, "events.jsonl"), "utf8")).toBe(before);
    expect(existsSync(join(out, "run.lock"))).toBe(false);
  });

  it("has the best adapter of its checkpoint, not that of steps that were cut off", async () => {
    const spec = await specWith({ maxSteps: 9, checkpointEvery: 3, evalEvery: 1 });
    const out = await stoppedAt(4, spec);
    rmSync(join(out, "checkpoints", "step-4"), { recursive: true });
    const decide = (event: TrainEvent) => (event.type === "step" ? { stop: "at once" } : undefined);
    const devLossAt = (): number => 99;
    const result = await start({ backend: createFakeTraining({ devLossAt }), spec, out, resume: true, decide }).result;
    expect(result).toMatchObject({ steps: 4, best: { step: 3 } });
    expect(savedNumbers(join(out, "adapter"))).toBe(savedNumbers(join(out, "checkpoints", "step-3", "best")));
  });
});

describe("a run's folder", () => {
  it("is refused while another process runs in it, new or resumed", async () => {
    const spec = await specWith({ maxSteps: 6 });
    const out = await stoppedAt(3, spec);
    writeFileSync(join(out, "run.lock"), JSON.stringify({ pid: process.pid, host: hostname(), start: null }));
    const again = (resume: boolean) => start({ backend: createFakeTraining(), spec, out, resume }).result;
    await expect(again(true)).rejects.toThrow(/in progress/);
    await expect(again(false)).rejects.toMatchObject({ code: "run/exists" });
    rmSync(join(out, "run.lock"));
    expect(await again(true)).toMatchObject({ steps: 6 });
  });

  it("of a run that was killed before it began is used anew", async () => {
    const spec = await specWith({ maxSteps: 3 });
    const out = await runIn();
    mkdirSync(join(out, "data"), { recursive: true });
    writeFileSync(join(out, "data", "train.jsonl"), "half");
    writeFileSync(join(out, "run.lock"), "");
    expect(await start({ backend: createFakeTraining(), spec, out, resume: true }).result).toMatchObject({ steps: 3 });
    expect(existsSync(join(out, "run.lock"))).toBe(false);
  });

  it("that cannot be made is an error of the disk", async () => {
    const file = join(await temporaryFolder(), "file");
    writeFileSync(file, "");
    const spec = await specWith({ maxSteps: 3 });
    const backend = createFakeTraining();
    for (const out of [join(file, "run"), file, "/proc/milora/run"])
      await expect(start({ backend, spec, out }).result).rejects.toMatchObject({ code: "run/disk", file: out });
    expect(backend.calls).toEqual([]);
  });
});

describe("a run that continues a finished one", () => {
  it("is a new run from its best adapter and names its parent", async () => {
    const spec = await specWith({ maxSteps: 4, evalEvery: 2 });
    const out = await runIn();
    const devLossAt = (step: number): number => step;
    await start({ backend: createFakeTraining({ devLossAt }), spec, out }).result;
    await expect(start({ backend: createFakeTraining(), spec, out, resume: true }).result).rejects.toMatchObject({
      code: "run/not-resumable",
      hint: expect.stringContaining("train.warmStart"),
    });
    const backend = createFakeTraining();
    const next = await runIn();
    const further = { ...spec, train: { ...spec.train, warmStart: out } };
    await start({ backend, spec: further, out: next }).result;
    expect(manifestOf(next)).toMatchObject({ parent: { run: out, step: 2 }, state: "finished" });
    const attached = backend.calls.find(({ name }) => name === "attachAdapter");
    expect(attached?.input).toMatchObject({ warmStart: join(out, "adapter") });
  });
});
