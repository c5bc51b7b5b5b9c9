import { writeFileSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { z } from "zod";
import { resultRecordSchema } from "../../ts/runs/result-record.js";
import { jsonOf, runProgram } from "../support/cli.js";
import { temporaryFolder } from "../support/temporary-folder.js";
import { makeTinyModel } from "../support/tiny-model.js";

let model: Awaited<ReturnType<typeof makeTinyModel>>;
beforeAll(async () => {
  model = await makeTinyModel();
});
afterAll(() => model.remove());

const noPython = { MILORA_PYTHON: "/nowhere/python" };

const resultFile = z.object({
  results: z.array(z.looseObject({ record: resultRecordSchema, rows: z.array(z.json()) })),
});

it("a result file says what it was made with, and two of them are compared without a model", async () => {
  const folder = await temporaryFolder();
  const score = async (name: string, ...more: readonly string[]) => {
    const outputs = join(folder, name);
    const args = ["eval", "--model", model.folder, "--tasks", "smart-home", "--limit", "6", "--max-new-tokens", "4"];
    const run = await runProgram([...args, "--dtype", "float32", "--device", "cpu", "--outputs", outputs, ...more]);
    expect(run).toMatchObject({ exitCode: 0 });
    return { outputs, stdout: run.stdout };
  };
  const first = await score("first.json", "--json");
  const { results } = resultFile.parse(JSON.parse(readFileSync(first.outputs, "utf8")));
  expect(results[0]).toMatchObject({
    task: "smart-home",
    reader: "robust",
    templateHash: expect.stringMatching(/^[\da-f]{12}$/),
    protocol: expect.stringContaining("robust reader"),
    chance: 0,
    majority: expect.any(Number),
    interval: [expect.any(Number), expect.any(Number)],
    unparsed: expect.any(Number),
    truncated: 0,
    record: { model: model.folder, adapter: null, seed: 0, trainingSeed: null, device: "cpu", dtype: "float32" },
  });
  expect(results[0]?.rows).toHaveLength(6);
  const { versions, date } = results[0]?.record ?? { versions: {}, date: "" };
  expect(Object.keys(versions).toSorted()).toEqual(["milora", "node", "peft", "python", "torch", "transformers"]);
  expect(Math.abs(Date.parse(date) - Date.now())).toBeLessThan(600_000);
  expect(jsonOf({ exitCode: 0, stdout: first.stdout, stderr: "" })).toMatchObject({
    results: [{ record: { dtype: "float32" } }],
  });

  const again = join(folder, "again.json");
  const changed = { results: results.map((result) => ({ ...result, record: undefined })) };
  writeFileSync(again, JSON.stringify(changed));
  const compared = await runProgram(["compare", first.outputs, again, "--json"], { env: noPython });
  expect(compared.exitCode).toBe(0);
  expect(jsonOf(compared)).toMatchObject({
    comparisons: [{ task: "smart-home", total: 6, difference: 0, p: 1, second: { record: null } }],
  });
  const told = await runProgram(["compare", first.outputs, again], { env: noPython });
  expect(told.stdout).toContain("inside the noise");

  const other = await score("compat.json", "--reader", "compat");
  expect(other.stdout).toContain("compat reader");
  const refused = await runProgram(["compare", first.outputs, other.outputs, "--json"], { env: noPython });
  expect(refused.exitCode).toBe(2);
  expect(refused.stderr).toContain("compat reader");
}, 300_000);
