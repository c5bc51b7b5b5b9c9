import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { openMilora, type Milora } from "../../ts/index.js";
import { temporaryFolder } from "../support/temporary-folder.js";
import { makeTinyModel } from "../support/tiny-model.js";

let model: Awaited<ReturnType<typeof makeTinyModel>>;
let milora: Milora;
beforeAll(async () => {
  model = await makeTinyModel();
  milora = await openMilora({ model: model.folder, device: "cpu", dtype: "float32" });
});
afterAll(async () => {
  await milora.close();
  model.remove();
});

it("writes texts of trained tenants beside the base model's, each as generate does", async () => {
  const folder = await temporaryFolder();
  const rows = Array.from({ length: 40 }, (_, index) => ({ prompt: `What follows ${index}?`, answer: " done" }));
  writeFileSync(join(folder, "rows.jsonl"), rows.map((row) => JSON.stringify(row)).join("\n"));
  const data = { train: join(folder, "rows.jsonl") };
  const train = { batchSize: 8, learningRate: 1e-2, evalEvery: 2, maxSteps: 4 };
  for (const method of [{ kind: "milora", rank: 4 } as const, { kind: "dora", rank: 2 } as const]) {
    const out = join(folder, method.kind);
    const { adapter } = await milora.train({ method, data, train }, { out, progress: false }).result;
    await milora.load(method.kind, adapter);
  }
  const engine = await milora.engine({ maxRows: 16 });
  const requests = ["milora", undefined, "dora", "milora"].map((tenant, index) => ({
    tenant,
    prompt: `What follows ${index}?`,
  }));
  const streams = requests.map((request) => engine.stream({ ...request, maxNewTokens: 12 }));
  const texts = await Promise.all(streams.map(({ result }) => result));
  await engine.close();
  const expected = await milora.generate(requests, { maxNewTokens: 12 });
  expect(texts.map(({ tenant, text }) => [tenant, text])).toEqual(expected.map(({ tenant, text }) => [tenant, text]));
  expect(new Set(texts.map(({ text }) => text)).size).toBeGreaterThan(1);
});
