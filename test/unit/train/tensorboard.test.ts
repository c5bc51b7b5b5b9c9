import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { MiloraError } from "../../../ts/errors.js";
import { readJsonFile } from "../../../ts/util/files.js";
import { createFakeTraining } from "../../support/fake-training.js";
import { recordOf, specWith, startFineTuning as start } from "../../support/fine-tuning.js";
import { temporaryFolder } from "../../support/temporary-folder.js";
import { rejectionOf } from "../../support/thrown.js";

const inputSchema = z.object({
  folder: z.string(),
  purgeStep: z.int().nullish(),
  close: z.boolean().optional(),
  scalars: z.array(z.object({ tag: z.string(), step: z.int(), value: z.number() })).optional(),
});

type Writing = z.output<typeof inputSchema>;

/** A training whose scalars are kept; `fail` may throw at a call, counted from 1. */
const tracked = (fail: (call: number) => void = () => undefined) => {
  const writings: Writing[] = [];
  const backend = createFakeTraining({
    devLosses: [1, 0.5],
    handlers: {
      writeScalars: (input) => {
        writings.push(inputSchema.parse(input));
        fail(writings.length);
        return {};
      },
    },
  });
  return { backend, writings, scalars: () => writings.flatMap(({ scalars = [] }) => scalars) };
};

describe("train.tensorboard", () => {
  it("writes each figure of the steps and the evaluations once, in its run's folder, and closes the file", async () => {
    const { backend, writings, scalars } = tracked();
    const out = join(await temporaryFolder(), "run");
    const spec = await specWith({ maxSteps: 6, evalEvery: 3, activationEvery: 2, tensorboard: true });
    await start({ backend, spec, out }).result;
    expect(writings[0]).toMatchObject({ folder: join(out, "tensorboard"), purgeStep: null });
    expect(writings.filter(({ close }) => close === true)).toHaveLength(1);
    expect(writings.at(-1)?.close).toBe(true);
    const steps = (tag: string) => scalars().flatMap((scalar) => (scalar.tag === tag ? [scalar.step] : []));
    expect(steps("weights/loss")).toEqual([1, 2, 3, 4, 5, 6]);
    expect(steps("activation/loss")).toEqual([2, 4, 6]);
    expect(steps("dev/perplexity")).toEqual([3, 6]);
    expect(scalars().find(({ tag }) => tag === "dev/perplexity")?.value).toBeCloseTo(Math.E);
  });

  it("writes nothing where it is not asked for", async () => {
    const { backend, writings } = tracked();
    await start({ backend, spec: await specWith({ maxSteps: 2 }), out: join(await temporaryFolder(), "run") }).result;
    expect(writings).toEqual([]);
  });

  it("goes on behind the checkpoint of a resumed run", async () => {
    const out = join(await temporaryFolder(), "run");
    const spec = await specWith({ maxSteps: 6, checkpointEvery: 2, tensorboard: true });
    const first = start({
      backend: tracked().backend,
      spec,
      out,
      onEvent: (event, run) => event.type === "step" && event.step === 2 && run.stop(),
    });
    const { steps } = await first.result;
    const { backend, writings } = tracked();
    await start({ backend, spec, out, resume: true }).result;
    expect(writings[0]?.purgeStep).toBe(steps + 1);
  });

  it("ends before the first step where the package is missing", async () => {
    const { backend } = tracked(() => {
      throw new MiloraError("environment/missing-package", "train.tensorboard needs the Python package tensorboard.");
    });
    const out = join(await temporaryFolder(), "run");
    const spec = await specWith({ maxSteps: 2, tensorboard: true });
    await rejectionOf(start({ backend, spec, out }).result, "environment/missing-package");
    expect(backend.calls.some(({ name }) => name === "weightsStep")).toBe(false);
    expect(await readJsonFile(join(out, "run.json"))).toMatchObject({ state: "failed" });
  });

  it("a failure on the way is a warning at the end, and ends no run", async () => {
    const { backend } = tracked((call) => {
      if (call > 1) throw new MiloraError("run/disk", "The disk is full.");
    });
    const out = join(await temporaryFolder(), "run");
    const result = await start({ backend, spec: await specWith({ maxSteps: 6, tensorboard: true }), out }).result;
    expect(result).toMatchObject({ steps: 6, stoppedBy: "max-steps" });
    const warnings = recordOf(out).flatMap((event) => (event.type === "warning" ? [event.message] : []));
    expect(warnings).toContain("TensorBoard's file is not whole: The disk is full.");
  });
});
