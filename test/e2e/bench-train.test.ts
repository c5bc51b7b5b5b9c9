import { afterAll, beforeAll, expect, it } from "vitest";
import { z } from "zod";
import { trainBenchRow } from "../../ts/backend/bench-ops.js";
import { jsonOf, runProgram } from "../support/cli.js";
import { makeTinyModel } from "../support/tiny-model.js";

let model: Awaited<ReturnType<typeof makeTinyModel>>;
beforeAll(async () => {
  model = await makeTinyModel();
});
afterAll(() => model.remove());

const printed = z.object({
  rows: z.array(trainBenchRow),
  curve: z.object({ milora: z.array(z.number()), hfTrainer: z.array(z.number()), maxDifference: z.number() }),
  machine: z.object({ cpu: z.string(), cores: z.number(), device: z.string(), dtype: z.string() }),
});

it("bench train sets our methods beside transformers' Trainer, and their loss curves are one", async () => {
  const sizes = ["--tokens", "12", "--batch", "4", "--rounds", "2", "--curve", "20"];
  const args = ["bench", "train", "--model", model.folder, "--methods", "lora,milora,adalora", "--dtype", "bfloat16"];
  const result = await runProgram([...args, ...sizes, "--json"]);
  expect(result.exitCode).toBe(0);
  const { rows, curve, machine } = printed.parse(jsonOf(result));
  expect(rows.map(({ method, engine }) => `${method} ${engine}`)).toEqual([
    "lora hf-trainer",
    "lora hf-trainer",
    "lora milora",
    "milora milora",
    "adalora milora",
  ]);
  expect(rows.map(({ attention }) => attention)).toEqual(["sdpa", "eager", "eager", "eager", "eager"]);
  expect(rows[0]?.ratioToPeer).toBe(1);
  expect(rows[1]?.ratioToEagerPeer).toBe(1);
  expect(rows.every(({ peakBytes }) => (peakBytes ?? 0) > 100_000)).toBe(true);
  expect(rows.slice(2).every(({ ratioToPeer, stepToLora }) => ratioToPeer > 0 && stepToLora !== null)).toBe(true);
  expect(machine).toMatchObject({ device: "cpu", dtype: "bfloat16" });
  expect(curve.milora).toHaveLength(20);
  expect(curve.maxDifference).toBeLessThan(1e-5);
});

it("bench train names what is wrong with its options", async () => {
  const result = await runProgram(["bench", "train", "--model", model.folder, "--tokens", "133,x", "--json"]);
  expect(result.exitCode).not.toBe(0);
  expect(z.object({ error: z.object({ code: z.string() }) }).parse(jsonOf(result)).error.code).toBe(
    "input/invalid-spec",
  );
});
