import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { resultRecord } from "../../../ts/client/result-record.js";
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

test("a record has the session's figures, and the seed of the run that an adapter lies in", async () => {
  const base = { model: "m", seed: 4, device: "cpu", dtype: "bfloat16", versions: { milora: "1", torch: "2" } };
  expect(await made(undefined)).toEqual({ ...base, adapter: null, trainingSeed: null });
  const run = await temporaryFolder();
  const adapter = join(run, "adapter");
  await mkdir(adapter);
  expect(await made(adapter)).toEqual({ ...base, adapter, trainingSeed: null });
  await writeFile(join(run, "run.json"), JSON.stringify({ spec: { train: { seed: 7 } } }));
  expect(await made(adapter)).toMatchObject({ adapter, trainingSeed: 7 });
  await writeFile(join(run, "run.json"), '{"spec": ');
  expect(await made(adapter)).toMatchObject({ adapter, trainingSeed: null });
});
