import { expect, test } from "vitest";
import { generateTexts } from "../../../ts/generate/generate-texts.js";
import { createFakeBackend } from "../../support/fake-backend.js";
import { rejectionOf } from "../../support/thrown.js";

const routing = { experts: [["v", "o"]], gates: [[0.75, 0.25]] };

const echoing = () =>
  createFakeBackend({
    generate: ({ requests, explain }) => ({
      outputs: requests.map(({ adapter, prompt = "" }) => ({
        text: `${prompt}!`,
        promptTokens: 2,
        newTokens: 1,
        finish: "stop" as const,
        routing: explain === true && adapter != null ? routing : null,
      })),
    }),
  });

const unset = { topK: null, masked: [], keepDecisionAs: null, decision: null };

test("a request may lower k, mask experts, and keep or reuse a decision", async () => {
  const backend = echoing();
  const changes = { topK: 1, masked: ["q"], keepDecisionAs: "turn 1", decision: "turn 0" };
  await generateTexts({ backend, requests: [{ adapter: "legal", prompt: "a", ...changes }] });
  expect(backend.calls[0]?.input).toMatchObject({ requests: [changes] });
});

test("the messages of a chat go as they are, told by the newest", async () => {
  const backend = echoing();
  const messages = [
    { role: "user", content: "a" },
    { role: "assistant", content: "b" },
    { role: "user", content: "c" },
  ];
  const [text] = await generateTexts({ backend, requests: [{ adapter: "legal", messages }] });
  expect(text).toMatchObject({ tenant: "legal", prompt: "c" });
  expect(backend.calls[0]?.input).toMatchObject({ requests: [{ adapter: "legal", messages, ...unset }] });
});

test("prompts of several tenants go in one call and come back in order", async () => {
  const backend = echoing();
  const texts = await generateTexts({
    backend,
    requests: [
      { adapter: "legal", prompt: "a" },
      { prompt: "b", chat: true },
      { adapter: "support", prompt: "c" },
    ],
    explain: true,
  });
  expect(texts).toEqual([
    { tenant: "legal", prompt: "a", text: "a!", promptTokens: 2, newTokens: 1, finish: "stop", routing },
    { tenant: null, prompt: "b", text: "b!", promptTokens: 2, newTokens: 1, finish: "stop" },
    { tenant: "support", prompt: "c", text: "c!", promptTokens: 2, newTokens: 1, finish: "stop", routing },
  ]);
  expect(backend.calls).toEqual([
    {
      name: "generate",
      input: {
        requests: [
          { adapter: "legal", prompt: "a", chat: false, ...unset },
          { adapter: null, prompt: "b", chat: true, ...unset },
          { adapter: "support", prompt: "c", chat: false, ...unset },
        ],
        maxNewTokens: 128,
        beams: 1,
        compile: false,
        explain: true,
      },
    },
  ]);
});

test("many requests are cut into batches, with progress; nothing is called for none", async () => {
  const backend = echoing();
  const seen: string[] = [];
  const requests = ["a", "b", "c"].map((prompt) => ({ prompt }));
  const onProgress = (done: number, total: number) => seen.push(`${done}/${total}`);
  const texts = await generateTexts({ backend, requests, batchSize: 2, onProgress });
  expect(texts.map(({ text }) => text)).toEqual(["a!", "b!", "c!"]);
  expect(seen).toEqual(["2/3", "3/3"]);
  expect(await generateTexts({ backend, requests: [] })).toEqual([]);
  expect(backend.calls).toHaveLength(2);
});

test("an aborted signal ends before the next batch", async () => {
  const backend = echoing();
  const requests = [{ prompt: "a" }];
  await rejectionOf(generateTexts({ backend, requests, signal: AbortSignal.abort() }), "cancelled");
  expect(backend.calls).toEqual([]);
});

test("the fake backend holds calls to the op table and refuses what it has no answer for", async () => {
  const backend = createFakeBackend({ closeModel: () => ({}) });
  await expect(backend.call("hello", {})).rejects.toThrow("no answer for hello");
  await expect(backend.call("generate", { requests: [] })).rejects.toThrow();
  expect(await backend.call("closeModel", {})).toEqual({});
  await backend.close();
  await expect(backend.call("closeModel", {})).rejects.toThrow("closed");
});
