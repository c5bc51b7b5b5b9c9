import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { resultRecord } from "../../../ts/client/result-record.js";
import { resultRecordSchema } from "../../../ts/runs/result-record.js";
import { temporaryFolder } from "../../support/temporary-folder.js";

const session = {
  opened: () =>
    Promise.resolve({
      model: "m",
      device: "cpu",
      dtype: "bfloat16",
      attention: "sdpa",
      numParameters: 1,
      contextLength: 128,
      hasChatTemplate: false,
      reason: "There is no GPU.",
    }),
  versions: () => Promise.resolve({ milora: "1", torch: "2" }),
};

const made = (adapter: string | undefined) => resultRecord(session, { model: "m", seed: 4, adapter });

test("a record has a format, the session's figures, and the spec, plan and seed of the run that an adapter lies in", async () => {
  const figures = { model: "m", seed: 4, device: "cpu", dtype: "bfloat16", versions: { milora: "1", torch: "2" } };
  const base = { format: 1, ...figures, trainingSeed: null, spec: null, plan: null };
  expect(await made(undefined)).toEqual({ ...base, adapter: null });
  const run = await temporaryFolder();
  const adapter = join(run, "adapter");
  await mkdir(adapter);
  expect(await made(adapter)).toEqual({ ...base, adapter });
  const spec = { model: "m", method: { kind: "lora" }, train: { seed: 7, epochs: 2 } };
  await writeFile(join(run, "run.json"), JSON.stringify({ spec, plan: "0123abcd" }));
  expect(await made(adapter)).toEqual({ ...base, adapter, trainingSeed: 7, spec, plan: "0123abcd" });
  await writeFile(join(run, "run.json"), JSON.stringify({ spec }));
  expect(await made(adapter)).toMatchObject({ trainingSeed: 7, plan: null });
  await writeFile(join(run, "run.json"), '{"spec": ');
  expect(await made(adapter)).toMatchObject({ adapter, trainingSeed: null, spec: null });
});

test("records are read back as they were written, older ones without what they lack, newer ones not at all", async () => {
  const record = { ...(await made(undefined)), date: "2026-01-02T03:04:05Z" };
  expect(resultRecordSchema.parse(JSON.parse(JSON.stringify(record)))).toEqual(record);
  const { format: _format, spec: _spec, plan: _plan, quantization: _quantization, ...old } = record;
  expect(resultRecordSchema.parse(old)).toEqual(old);
  expect(resultRecordSchema.safeParse({ ...record, format: 2 }).success).toBe(false);
});
