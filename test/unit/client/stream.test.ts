import { setImmediate } from "node:timers/promises";
import { expect, test } from "vitest";
import { AdapterNames } from "../../../ts/client/adapter-names.js";
import { SessionStreams, type ChunkStream } from "../../../ts/client/stream.js";
import { openTextEngine } from "../../../ts/generate/text-engine.js";
import { createFakeBackend } from "../../support/fake-backend.js";
import { rejectionOf } from "../../support/thrown.js";

/** A session whose engine writes "ab" a step, up to the tokens that are asked for. */
const session = (options: { readonly opens?: () => boolean } = {}) => {
  const rows = new Map<number, { done: number; readonly length: number }>();
  let next = 0;
  const backend = createFakeBackend({
    loadAdapter: () => ({ config: {}, parameters: 1 }),
    unloadAdapter: () => ({}),
    engineOpen: () => {
      if (options.opens?.() === false) throw new Error("An engine is open already.");
      return { slowBecause: null };
    },
    engineLoad: ({ folder }) => {
      if (folder.endsWith("broken")) throw new Error("There is no adapter.");
      return { bytes: 1 };
    },
    engineUnload: () => ({}),
    engineClose: () => ({}),
    engineSubmit: ({ maxNewTokens = 128 }) => {
      rows.set(next, { done: 0, length: maxNewTokens });
      next += 1;
      return { request: next - 1, promptTokens: 2 };
    },
    engineStep: async ({ abort = [] }) => {
      await setImmediate();
      const events = [...rows].map(([request, row]) => {
        const isAborted = abort.includes(request);
        row.done += isAborted ? 0 : 1;
        const isEnd = isAborted || row.done === row.length;
        if (isEnd) rows.delete(request);
        const finish = isAborted ? ("aborted" as const) : ("length" as const);
        const seconds = { queued: 0, prefill: 0, firstToken: 0 };
        const end = { finish, text: "ab".repeat(row.done), newTokens: row.done, error: null, routing: null, seconds };
        return { request, text: isAborted ? "" : "ab", newTokens: 1, end: isEnd ? end : null };
      });
      return { events };
    },
  });
  const names = new AdapterNames(backend);
  const streams = new SessionStreams({
    openEngine: async () => openTextEngine(backend),
    names: () => Promise.resolve(names),
  });
  const inputs = (wanted: string): unknown[] =>
    backend.calls.filter(({ name }) => name === wanted).map(({ input }) => input);
  return { names, streams, inputs };
};

const read = async (stream: ChunkStream): Promise<string> => {
  let whole = "";
  for await (const { text } of stream) whole += text;
  return whole;
};

test("texts come in chunks from one engine, which holds the tenants that were asked for", async () => {
  const { names, streams, inputs } = session();
  await names.load("legal", "/adapters/legal");
  await names.load("support", "/adapters/support");
  const [first, second, plain] = [
    streams.stream({ tenant: "legal", prompt: "one", maxNewTokens: 3 }, undefined),
    streams.stream({ tenant: "legal", prompt: "two", maxNewTokens: 2 }, undefined),
    streams.stream({ prompt: "three", maxNewTokens: 1 }, undefined),
  ];
  expect(await Promise.all([read(first), read(second), read(plain)])).toEqual(["ababab", "abab", "ab"]);
  expect(await first.result).toMatchObject({ tenant: "legal", text: "ababab", newTokens: 3, finish: "length" });
  expect((await plain.result).tenant).toBe(null);
  expect(inputs("engineOpen")).toHaveLength(1);
  expect(inputs("engineLoad")).toEqual([{ adapter: names.inner("legal"), folder: "/adapters/legal" }]);
});

test("a reader that leaves and a signal end their texts, and the session goes on", async () => {
  const { streams, inputs } = session();
  const left = streams.stream({ prompt: "one", maxNewTokens: 100_000 }, undefined);
  for await (const { text } of left) if (text !== "") break;
  await rejectionOf(left.result, "cancelled");
  const stopping = new AbortController();
  const aborted = streams.stream({ prompt: "two", maxNewTokens: 100_000 }, stopping.signal);
  const reading = read(aborted);
  await setImmediate();
  stopping.abort();
  await rejectionOf(reading, "cancelled");
  await rejectionOf(read(streams.stream({ prompt: "three" }, AbortSignal.abort())), "cancelled");
  expect(await read(streams.stream({ prompt: "four", maxNewTokens: 1 }, undefined))).toBe("ab");
  const aborts = inputs("engineStep").flatMap((input) => Object.entries(input ?? {}));
  expect(
    aborts.filter(([field, value]) => field === "abort" && Array.isArray(value) && value.length > 0),
  ).toHaveLength(2);
});

test("a new version is loaded anew, and what is gone is forgotten", async () => {
  const { names, streams, inputs } = session();
  await streams.tidy();
  await names.load("legal", "/adapters/one");
  const ask = () => read(streams.stream({ tenant: "legal", prompt: "one", maxNewTokens: 1 }, undefined));
  await ask();
  const before = names.inner("legal");
  await names.load("legal", "/adapters/two");
  await streams.tidy();
  await ask();
  expect(inputs("engineUnload")).toEqual([{ adapter: before }]);
  expect(inputs("engineLoad")).toHaveLength(2);
  await names.unload("legal");
  await rejectionOf(ask(), "adapter/not-found");
});

test("an engine of the caller's own waits for the streams, and they for it", async () => {
  let isFree = true;
  const { streams, inputs } = session({ opens: () => isFree });
  await streams.release();
  const stream = streams.stream({ prompt: "one", maxNewTokens: 2 }, undefined);
  await rejectionOf(streams.release(), "input/invalid-spec");
  await stream.result;
  await streams.release();
  expect(inputs("engineClose")).toHaveLength(1);
  isFree = false;
  await expect(read(streams.stream({ prompt: "two" }, undefined))).rejects.toThrow("open already");
  isFree = true;
  expect(await read(streams.stream({ prompt: "three", maxNewTokens: 1 }, undefined))).toBe("ab");
});

test("an adapter that the engine refuses rejects its stream alone, each time", async () => {
  const { names, streams, inputs } = session();
  await names.load("broken", "/adapters/broken");
  for (const _ of [1, 2])
    await expect(read(streams.stream({ tenant: "broken", prompt: "one" }, undefined))).rejects.toThrow("no adapter");
  expect(inputs("engineLoad")).toHaveLength(2);
  expect(await read(streams.stream({ prompt: "two", maxNewTokens: 1 }, undefined))).toBe("ab");
});
