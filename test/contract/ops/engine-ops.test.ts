import { rm } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { openBackend, type PythonBackend } from "../../../ts/bridge/index.js";
import { openTextEngine, type TextEngine } from "../../../ts/generate/text-engine.js";
import { testPython } from "../../fixtures/bridge/support.js";
import { rejectionOf } from "../../support/thrown.js";
import { makeCheckpoint, planOf } from "./support.js";

/** The engine through the bridge: streams of several tenants, aborts, versions. */

let backend: PythonBackend;
let folder: string;
let engine: TextEngine;
const at = (...parts: readonly string[]): string => join(folder, ...parts);

beforeAll(async () => {
  folder = await makeCheckpoint();
  backend = await openBackend({ python: testPython() });
  const model = at("model");
  const described = await backend.call("describeModel", { model });
  await backend.call("openModel", { model, device: "cpu", dtype: "float32" });
  await backend.call("loadRows", { name: "train", file: at("rows.jsonl") });
  for (const [seed, name] of ["first", "second"].entries()) {
    await backend.call("attachAdapter", { adapter: name, config: planOf(described), seed });
    await backend.call("startTraining", { adapter: name });
    for (let step = 0; step < 4; step += 1)
      await backend.call("weightsStep", { data: "train", rows: [seed, seed + 1], learningRate: 0.05 });
    await backend.call("stopTraining", {});
    await backend.call("saveAdapter", { adapter: name, folder: at(name) });
  }
  engine = await openTextEngine(backend, { maxRows: 8 });
  expect(engine.slowBecause).toBe(null);
  await engine.load("legal", at("first"));
  await engine.load("support", at("second"));
});
afterAll(async () => {
  await engine?.close();
  await backend?.close();
  await rm(folder, { recursive: true, force: true });
});

test("streams give the texts of generate, while other operations go on", async () => {
  const asked = [
    { tenant: "legal", adapter: "first", prompt: "Say one: " },
    { tenant: "support", adapter: "second", prompt: "b" },
    { tenant: undefined, adapter: null, prompt: "Something else, quite a bit longer" },
  ];
  const streams = asked.map(({ tenant, prompt }) => engine.stream({ tenant, prompt, maxNewTokens: 24 }));
  const requests = asked.map(({ adapter, prompt }) => ({ adapter, prompt }));
  const { outputs } = await backend.call("generate", { requests, maxNewTokens: 24 });
  const pieces: string[] = [];
  for await (const piece of streams[0] ?? []) pieces.push(piece);
  const texts = await Promise.all(streams.map(({ result }) => result));
  expect(texts.map(({ text }) => text)).toEqual(outputs.map(({ text }) => text));
  expect(texts.map(({ newTokens, finish }) => [newTokens, finish])).toEqual(
    outputs.map(({ newTokens, finish }) => [newTokens, finish]),
  );
  expect(pieces.join("")).toBe(outputs[0]?.text);
});

test("a signal ends one text, a reader another, and the third goes on", async () => {
  const stopping = new AbortController();
  const long = { prompt: "Say", maxNewTokens: 100, sampling: { temperature: 1, seed: 4 } };
  const alone = await engine.stream({ ...long, tenant: "legal" }).result;
  const aborted = engine.stream({ ...long, tenant: "support" }, { signal: stopping.signal });
  const left = engine.stream({ ...long, tenant: "support", sampling: { temperature: 1, seed: 5 } });
  const kept = engine.stream({ ...long, tenant: "legal" });
  for await (const piece of left) if (piece.length > 0) break;
  stopping.abort();
  for (const { result } of [aborted, left]) {
    const outcome = await result.catch((error: unknown) => error);
    expect(outcome).toMatchObject(outcome instanceof Error ? { code: "cancelled" } : { finish: "stop" });
  }
  expect((await kept.result).text).toBe(alone.text);
});

test("a text under way keeps its adapter when another takes the name", async () => {
  const request = { tenant: "legal", prompt: "Say one: ", maxNewTokens: 40 };
  const before = await engine.stream(request).result;
  const other = await engine.stream({ ...request, tenant: "support" }).result;
  expect(other.text).not.toBe(before.text);
  const stream = engine.stream(request);
  await engine.load("legal", at("second"));
  await engine.unload("legal");
  expect((await stream.result).text).toBe(before.text);
  const gone = await rejectionOf(engine.stream(request).result, "adapter/not-found");
  expect(gone.message).toContain("support");
  await engine.load("legal", at("first"));
});

test("a text tells its routing, and may change, keep and take one", async () => {
  const request = { tenant: "legal", prompt: "Say one: ", maxNewTokens: 2, explain: true };
  const expertsOf = async (change: object): Promise<readonly (readonly string[])[] | undefined> =>
    (await engine.stream({ ...request, ...change }).result).routing?.experts;
  const own = await expertsOf({ keepDecisionAs: "turn" });
  expect(own?.map(({ length }) => length)).toEqual([2, 2]);
  expect((await expertsOf({ topK: 1 }))?.map(({ length }) => length)).toEqual([1, 1]);
  const masked = own?.[0]?.[0] ?? "";
  expect((await expertsOf({ masked: [masked] }))?.[0]).not.toContain(masked);
  expect(await expertsOf({ prompt: "Something else", decision: "turn" })).toEqual(own);
  expect(await expertsOf({ tenant: undefined })).toBe(undefined);
  await rejectionOf(engine.stream({ ...request, decision: "trun" }).result, "input/unknown-name");
  await rejectionOf(engine.stream({ prompt: "x", keepDecisionAs: "turn" }).result, "adapter/unsupported");
});

test("the engine tells what it has made", async () => {
  await engine.stream({ prompt: "Say one: ", maxNewTokens: 4 }).result;
  const { cacheBytes, cacheGrowths, ...compiled } = await engine.statistics();
  expect(cacheBytes).toBeGreaterThan(0);
  expect(cacheGrowths).toBeGreaterThan(0);
  expect(compiled).toEqual({ compilations: 0, compileSeconds: 0 });
});

test("what no engine can do is refused before any work", async () => {
  await rejectionOf(engine.stream({ prompt: "x", maxNewTokens: 10_000 }).result, "input/invalid-spec");
  await rejectionOf(engine.stream({ prompt: "x", maxNewTokens: 4, beams: 9 }).result, "memory/exhausted");
  await rejectionOf(
    engine.stream({ tenant: "legal", prompt: "x", maxNewTokens: 4, topK: 7 }).result,
    "input/invalid-spec",
  );
  await rejectionOf(backend.call("engineOpen", {}), "input/invalid-spec");
});

test("adapters share a budget; those that do not fit come back with their texts", async () => {
  const request = { tenant: "legal", prompt: "Say one: ", maxNewTokens: 12 };
  const whole = await engine.stream(request).result;
  const { queued, prefill, firstToken } = whole.seconds;
  expect(firstToken).toBeGreaterThanOrEqual(queued + prefill);
  const [{ bytes }] = z.tuple([z.object({ bytes: z.number() })], z.unknown()).parse(await engine.adapters());
  await engine.close();

  engine = await openTextEngine(backend, { adapterMemory: bytes - 1 });
  const tooSmall = await rejectionOf(engine.load("legal", at("first")), "memory/exhausted");
  expect(tooSmall.message).toContain(String(bytes - 1));
  await engine.close();

  engine = await openTextEngine(backend, { adapterMemory: 2 * bytes });
  await engine.load("pinned", at("second"), { pinned: true });
  await engine.load("legal", at("first"));
  await engine.load("support", at("second"));
  const resident = async () =>
    (await engine.adapters()).flatMap(({ name, resident: isResident }) => (isResident ? [name] : []));
  expect(await resident()).toEqual(["pinned", "support"]);
  expect((await engine.stream(request).result).text).toBe(whole.text);
  expect(await resident()).toEqual(["pinned", "legal"]);
  await engine.unload("support");
  const state = { version: 2, bytes, resident: true, pinned: false, requests: 0, unloading: false };
  expect((await engine.adapters()).at(1)).toEqual({ name: "legal", ...state });
  await engine.close();

  engine = await openTextEngine(backend, { adapterMemory: { share: 0.5 } });
  await engine.load("legal", at("first"));
  expect(await resident()).toEqual(["legal"]);
});
