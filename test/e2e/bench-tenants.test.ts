import { execa } from "execa";
import { afterAll, beforeAll, expect, it } from "vitest";
import { z } from "zod";
import { tenantBenchRow } from "../../ts/backend/bench-ops.js";
import { jsonOf, programFile, runProgram } from "../support/cli.js";
import { makeTinyModel } from "../support/tiny-model.js";

let model: Awaited<ReturnType<typeof makeTinyModel>>;
beforeAll(async () => {
  model = await makeTinyModel();
});
afterAll(() => model.remove());

const printed = z.object({
  rows: z.array(tenantBenchRow),
  skipped: z.array(z.unknown()),
  machine: z.object({ dtype: z.string() }),
});

it("bench tenants sets batches beside the base and PEFT, with the bytes that a step reads", async () => {
  const args = ["bench", "tenants", "--model", model.folder, "--methods", "milora,lora", "--tenants", "1,3"];
  const sizes = ["--prompt-tokens", "8", "--new-tokens", "6", "--rounds", "2", "--rows-per-tenant", "1,2"];
  const result = await runProgram([...args, ...sizes, "--dtype", "float32", "--json"]);
  expect(result.exitCode).toBe(0);
  const { rows, skipped } = printed.parse(jsonOf(result));
  expect(rows.map((row) => `${row.tenants}x${row.rowsPerTenant} ${row.method} ${row.engine}`)).toEqual(
    ["1x1", "1x2", "3x1", "3x2"].flatMap((batch) =>
      ["milora milora", "lora milora", "lora peft"].map((name) => `${batch} ${name}`),
    ),
  );
  expect(skipped).toEqual([]);
  const loras = rows.filter(({ method }) => method === "lora");
  expect(loras.map(({ sameTokens }) => sameTokens)).toEqual(
    loras.map(({ engine }) => (engine === "milora" ? true : null)),
  );
  expect(rows.every((row) => row.ratioToBase > 0 && row.ratioToPeft !== null && row.newTokens === 6)).toBe(true);
  expect(rows.every((row) => row.expectedRatio > 0 && row.expectedRatio < 1)).toBe(true);
  expect(new Set(rows.map(({ stepBytes }) => stepBytes.base)).size).toBe(1);
});

it("Ctrl-C ends a bench with 130", async () => {
  const args = ["bench", "tenants", "--model", model.folder, "--tenants", "2", "--rounds", "100000"];
  const child = execa("node", [programFile, ...args], { reject: false, timeout: 120_000 });
  child.stderr.on("data", (text: Buffer) => {
    if (text.includes("LoRAs in PEFT 2/2")) child.kill("SIGINT");
  });
  expect((await child).exitCode).toBe(130);
});
