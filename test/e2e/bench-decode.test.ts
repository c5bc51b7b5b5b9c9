import { afterAll, beforeAll, expect, it } from "vitest";
import { z } from "zod";
import { decodeBenchRow } from "../../ts/backend/bench-ops.js";
import { jsonOf, runProgram } from "../support/cli.js";
import { makeTinyModel } from "../support/tiny-model.js";

let model: Awaited<ReturnType<typeof makeTinyModel>>;
beforeAll(async () => {
  model = await makeTinyModel();
});
afterAll(() => model.remove());

const printed = z.object({
  rows: z.array(decodeBenchRow),
  slowBecause: z.null(),
  machine: z.object({ cpu: z.string(), cores: z.number(), device: z.string(), dtype: z.string() }),
});

const sizes = ["--prompt-tokens", "8", "--new-tokens", "6", "--rounds", "2", "--dtype", "float32", "--json"];

it("bench decode sets methods beside the base, in the engine and in transformers, with the same tokens", async () => {
  const args = ["bench", "decode", "--model", model.folder, "--methods", "moelora,milora", "--top-k", "2"];
  const result = await runProgram([...args, "--beams", "1,2", "--peer", "hf", "--no-peak", ...sizes]);
  expect(result.exitCode).toBe(0);
  const { rows, machine } = printed.parse(jsonOf(result));
  const names = ["base milora", "base hf", "moelora hf", "milora milora", "milora hf"];
  expect(rows.map(({ method, engine, beams }) => `${method} ${engine} ${beams}`)).toEqual(
    [1, 2].flatMap((beams) => names.map((name) => `${name} ${beams}`)),
  );
  expect(rows.filter(({ method }) => method !== "moelora").every(({ sameTokens }) => sameTokens === true)).toBe(true);
  expect(rows.filter(({ hfBecause }) => hfBecause !== null).map(({ method }) => method)).toEqual([
    "moelora",
    "moelora",
  ]);
  expect(rows.every((row) => row.tokensPerSecond > 0 && row.newTokens === 6 && row.peakBytes === null)).toBe(true);
  expect(machine).toMatchObject({ device: "cpu", dtype: "float32" });
  expect(result.stderr).toMatch(/tokens \d+\/\d+ · 100 %/);
});

it("bench decode sets compiled rows beside plain ones, with the same tokens", async () => {
  const args = ["bench", "decode", "--model", model.folder, "--methods", "milora", "--top-k", "2", "--beams", "1"];
  const { rows } = printed.parse(jsonOf(await runProgram([...args, "--compile", ...sizes])));
  expect(rows.map(({ method, compiled, sameTokens }) => [method, compiled, sameTokens])).toEqual([
    ["base", false, null],
    ["base", true, true],
    ["milora", false, null],
    ["milora", true, true],
  ]);
  expect(rows.map(({ peakBytes }) => peakBytes === null)).toEqual([false, true, false, true]);
  expect(rows.filter(({ method }) => method === "base").map(({ ratioToBase }) => ratioToBase)).toEqual([1, 1]);
});

it("bench decode measures memory in another process", async () => {
  const args = ["bench", "decode", "--model", model.folder, "--methods", "base", "--beams", "1"];
  const { rows } = printed.parse(jsonOf(await runProgram([...args, ...sizes])));
  expect(rows.map(({ method, ratioToBase }) => [method, ratioToBase])).toEqual([["base", 1]]);
  // Keys and values of a row of 128 places: 2 layers, 2 heads of 8, float32.
  expect(rows[0]?.peakBytes).toBeGreaterThan(128 * 2 * 2 * 2 * 8 * 4);
});

it("bench decode names what is wrong with its options", async () => {
  const args = ["bench", "decode", "--model", model.folder, "--beams", "0", "--json"];
  const result = await runProgram(args);
  expect(result.exitCode).toBe(2);
  expect(z.object({ error: z.object({ code: z.string() }) }).parse(jsonOf(result)).error.code).toBe(
    "input/invalid-spec",
  );
});
