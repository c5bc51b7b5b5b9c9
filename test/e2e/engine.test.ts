import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { openMilora, type Milora } from "../../ts/index.js";
import { makeTinyModel } from "../support/tiny-model.js";

let model: Awaited<ReturnType<typeof makeTinyModel>>;
let milora: Milora;
let trained: string;
beforeAll(async () => {
  model = await makeTinyModel();
  milora = await openMilora({ model: model.folder, device: "cpu", dtype: "float32" });
  trained = mkdtempSync(join(tmpdir(), "milora-engine-"));
  const rows = Array.from({ length: 40 }, (_, index) => ({ prompt: `What follows ${index}?`, answer: " done" }));
  writeFileSync(join(trained, "rows.jsonl"), rows.map((row) => JSON.stringify(row)).join("\n"));
  const data = { train: join(trained, "rows.jsonl") };
  const train = { batchSize: 8, learningRate: 1e-2, evalEvery: 2, maxSteps: 4 };
  for (const method of [{ kind: "milora", rank: 4 } as const, { kind: "dora", rank: 2 } as const]) {
    const out = join(trained, method.kind);
    const { adapter } = await milora.train({ method, data, train }, { out, progress: false }).result;
    await milora.load(method.kind, adapter);
  }
});
afterAll(async () => {
  await milora.close();
  rmSync(trained, { recursive: true, force: true });
  model.remove();
});

it("writes texts of trained tenants beside the base model's, each as generate does", async () => {
  const engine = await milora.engine({ maxRows: 16 });
  const requests = ["milora", undefined, "dora", "milora"].map((tenant, index) => ({
    tenant,
    prompt: `What follows ${index}?`,
  }));
  const streams = requests.map((request) => engine.stream({ ...request, maxNewTokens: 12 }));
  const texts = await Promise.all(streams.map(({ result }) => result));
  await expect(milora.stream({ prompt: "Hi" }).result).rejects.toMatchObject({ code: "input/invalid-spec" });
  await engine.close();
  const expected = await milora.generate(requests, { maxNewTokens: 12 });
  expect(texts.map(({ tenant, text }) => [tenant, text])).toEqual(expected.map(({ tenant, text }) => [tenant, text]));
  expect(new Set(texts.map(({ text }) => text)).size).toBeGreaterThan(1);
});

it("streams a text in chunks, routed as in generate, and ends it with its reader or a signal", async () => {
  const asked = { tenant: "milora", prompt: "What follows 7?" };
  const [expected] = await milora.generate([{ ...asked, topK: 1, keepDecisionAs: "turn" }], {
    maxNewTokens: 12,
    explain: true,
  });
  const stream = milora.stream({ ...asked, topK: 1, maxNewTokens: 12, explain: true });
  let text = "";
  for await (const chunk of stream) text += chunk.text;
  expect(await stream.result).toMatchObject({ tenant: "milora", text, newTokens: expected?.newTokens });
  expect(text).toBe(expected?.text);
  expect((await stream.result).routing?.experts).toEqual(expected?.routing?.experts);
  const again = milora.stream({ tenant: "milora", prompt: "Else", decision: "turn", explain: true, maxNewTokens: 1 });
  expect((await again.result).routing?.experts).toEqual(expected?.routing?.experts);

  const long = { prompt: "Hi", maxNewTokens: 200, sampling: { temperature: 1, seed: 3 } };
  const left = milora.stream(long);
  for await (const chunk of left) if (chunk.text !== "") break;
  const stopping = new AbortController();
  const aborted = milora.stream(long, { signal: stopping.signal });
  stopping.abort();
  await expect(aborted.result).rejects.toMatchObject({ code: "cancelled" });
  await left.result.catch((error: unknown) => expect(error).toMatchObject({ code: "cancelled" }));
  await milora.load("milora", join(trained, "dora", "adapter"));
  const [dora] = await milora.generate([{ ...asked, tenant: "dora" }], { maxNewTokens: 12 });
  expect((await milora.stream({ ...asked, maxNewTokens: 12 }).result).text).toBe(dora?.text);
});

it("takes the messages of a chat, which this model has no template for", async () => {
  const messages = [{ role: "user", content: "What follows 3?" }];
  const problem = { code: "model/unsupported", message: expect.stringContaining("chat template") };
  await expect(milora.generate([{ prompt: "a" }, { tenant: "dora", messages }])).rejects.toMatchObject(problem);
  await expect(milora.stream({ messages }).result).rejects.toMatchObject(problem);
});
