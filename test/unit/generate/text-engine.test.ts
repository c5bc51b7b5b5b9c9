import { setImmediate } from "node:timers/promises";
import { expect, test } from "vitest";
import type { OpOutput } from "../../../ts/backend/backend.js";
import { openTextEngine } from "../../../ts/generate/text-engine.js";
import { createFakeBackend } from "../../support/fake-backend.js";
import { rejectionOf } from "../../support/thrown.js";

type Event = OpOutput<"engineStep">["events"][number];

interface Row {
  readonly request: number;
  readonly length: number;
  readonly piece: string;
  done: number;
}

const turns = async (count: number): Promise<void> => {
  for (let turn = 0; turn < count; turn += 1) await setImmediate();
};

const adapter = {
  name: "legal",
  version: 1,
  bytes: 1,
  resident: true,
  pinned: true,
  requests: 0,
  unloading: false,
};
const seconds = { queued: 0.1, prefill: 0.2, firstToken: 0.3 };

/** An engine that writes one piece a step for each request. */
const writing = (piece = "a") => {
  const rows = new Map<number, Row>();
  let next = 0;
  const ends = (row: Row, finish: "stop" | "aborted"): Event => ({
    request: row.request,
    text: finish === "stop" ? row.piece : "",
    newTokens: 1,
    end: { finish, text: row.piece.repeat(row.done), newTokens: row.done, error: null, routing: null, seconds },
  });
  const backend = createFakeBackend({
    engineOpen: () => ({ slowBecause: null }),
    engineLoad: () => ({ bytes: 1 }),
    engineUnload: () => ({}),
    engineAdapters: () => ({ adapters: [adapter] }),
    engineClose: () => ({}),
    engineSubmit: ({ maxNewTokens = 0 }) => {
      rows.set(next, { request: next, length: maxNewTokens, piece, done: 0 });
      next += 1;
      return { request: next - 1, promptTokens: 3 };
    },
    engineStep: async ({ abort = [] }) => {
      await turns(1);
      const events: Event[] = [];
      for (const row of rows.values()) {
        const isAborted = abort.includes(row.request);
        if (!isAborted) row.done += 1;
        const isEnd = isAborted || row.done === row.length;
        if (isEnd) rows.delete(row.request);
        if (isEnd) events.push(ends(row, isAborted ? "aborted" : "stop"));
        else events.push({ request: row.request, text: piece, newTokens: 1, end: null });
      }
      return { events };
    },
  });
  const steps = (): number => backend.calls.filter(({ name }) => name === "engineStep").length;
  return { backend, steps };
};

const read = async (pieces: AsyncIterable<string>): Promise<string[]> => {
  const found: string[] = [];
  for await (const piece of pieces) found.push(piece);
  return found;
};

test("texts of several tenants share the steps and come in pieces", async () => {
  const { backend, steps } = writing();
  const engine = await openTextEngine(backend, { maxRows: 8 });
  await engine.load("legal", "adapters/legal", { pinned: true });
  expect(backend.calls.at(-1)?.input).toMatchObject({ adapter: "legal", pinned: true });
  expect(await engine.adapters()).toEqual([adapter]);
  const first = engine.stream({ tenant: "legal", prompt: "one", maxNewTokens: 5, stop: ["\n"], topK: 2 });
  const second = engine.stream({ prompt: "two", maxNewTokens: 3, sampling: { temperature: 1 } });
  const [pieces, whole] = await Promise.all([read(first), second.result]);
  expect(pieces.join("")).toBe("aaaaa");
  expect(pieces.length).toBeGreaterThan(1);
  const counts = { promptTokens: 3, finish: "stop", seconds };
  expect(await first.result).toEqual({ tenant: "legal", prompt: "one", text: "aaaaa", newTokens: 5, ...counts });
  expect(whole).toEqual({ tenant: null, prompt: "two", text: "aaa", newTokens: 3, ...counts });
  expect(steps()).toBeLessThan(8);
  expect(backend.calls.find(({ name }) => name === "engineSubmit")?.input).toEqual({
    adapter: "legal",
    prompt: "one",
    chat: false,
    maxNewTokens: 5,
    beams: undefined,
    stop: ["\n"],
    sampling: {},
    topK: 2,
    masked: [],
    keepDecisionAs: null,
    decision: null,
    explain: undefined,
  });
});

test("a chat, and what a request changes of its routing", async () => {
  const routing = { experts: [["v", "o"]], gates: [[0.75, 0.25]] };
  const backend = createFakeBackend({
    engineOpen: () => ({ slowBecause: null }),
    engineSubmit: () => ({ request: 0, promptTokens: 3 }),
    engineStep: () => {
      const end = { finish: "stop" as const, text: "a", newTokens: 1, error: null, routing, seconds };
      return { events: [{ request: 0, text: "a", newTokens: 1, end }] };
    },
  });
  const engine = await openTextEngine(backend);
  const messages = [
    { role: "system", content: "Be brief." },
    { role: "user", content: "one" },
  ];
  const change = { masked: ["q"], keepDecisionAs: "turn 1", topK: 1 };
  const whole = await engine.stream({ tenant: "legal", messages, ...change, explain: true }).result;
  expect(whole).toMatchObject({ prompt: "one", text: "a", routing });
  const submitted = backend.calls.find(({ name }) => name === "engineSubmit")?.input;
  expect(submitted).toMatchObject({ messages, ...change, decision: null, explain: true });
  expect(submitted).not.toHaveProperty("prompt");
});

test("an abort ends one text and leaves the others alone", async () => {
  const { backend } = writing();
  const engine = await openTextEngine(backend);
  const stopping = new AbortController();
  const doomed = engine.stream({ prompt: "one", maxNewTokens: 1000 }, { signal: stopping.signal });
  const other = engine.stream({ prompt: "two", maxNewTokens: 20 });
  await turns(3);
  stopping.abort();
  await rejectionOf(doomed.result, "cancelled");
  expect((await other.result).text).toBe("a".repeat(20));
  const aborted = engine.stream({ prompt: "three" }, { signal: AbortSignal.abort() });
  await rejectionOf(read(aborted), "cancelled");
  expect(backend.calls.filter(({ name }) => name === "engineSubmit")).toHaveLength(2);
});

test("a reader that leaves ends its text", async () => {
  const { backend, steps } = writing();
  const engine = await openTextEngine(backend);
  const stream = engine.stream({ prompt: "one", maxNewTokens: 100_000 });
  for await (const piece of stream) if (piece !== "") break;
  await rejectionOf(stream.result, "cancelled");
  const before = steps();
  await turns(5);
  expect(steps()).toBe(before);
});

test("a slow reader lets the engine wait, but not other readers", async () => {
  const { backend, steps } = writing("a".repeat(1000));
  const engine = await openTextEngine(backend);
  const slow = engine.stream({ prompt: "one", maxNewTokens: 50 })[Symbol.asyncIterator]();
  await slow.next();
  await turns(40);
  const waiting = steps();
  await turns(40);
  expect(steps()).toBe(waiting);
  expect(waiting).toBeLessThan(12);
  expect((await engine.stream({ prompt: "two", maxNewTokens: 9 }).result).newTokens).toBe(9);
  let characters = 1000;
  for (let next = await slow.next(); next.done !== true; next = await slow.next()) characters += next.value.length;
  expect(characters).toBe(50_000);
});

test("a failed request, a failed step and a closed engine reject", async () => {
  const { backend } = writing();
  const engine = await openTextEngine(backend);
  const stuck = engine.stream({ prompt: "one", maxNewTokens: 1_000_000 });
  await turns(3);
  await engine.close();
  await engine.close();
  await rejectionOf(stuck.result, "cancelled");
  await rejectionOf(engine.stream({ prompt: "x" }).result, "input/invalid-spec");
  expect(backend.calls.filter(({ name }) => name === "engineClose")).toHaveLength(1);

  const poisoned = createFakeBackend({
    engineOpen: () => ({ slowBecause: null }),
    engineSubmit: ({ prompt }) => ({ request: prompt === "poison" ? 0 : 1, promptTokens: 1 }),
    engineStep: () => {
      const details = { found: "poison", hint: "Try dtype float32." };
      const error = { code: "training/non-finite" as const, message: "Not finite.", details };
      const end = { finish: "error" as const, text: "", newTokens: 0, error, routing: null, seconds: null };
      if (poisoned.calls.filter(({ name }) => name === "engineStep").length > 1) throw new Error("Python has died.");
      return { events: [{ request: 0, text: "", newTokens: 0, end }] };
    },
  });
  const failing = await openTextEngine(poisoned);
  const [sick, other] = [failing.stream({ prompt: "poison" }), failing.stream({ prompt: "plain" })];
  const rejection = await rejectionOf(read(sick), "training/non-finite");
  expect(rejection).toMatchObject({ message: "Not finite.", found: "poison", hint: "Try dtype float32." });
  await expect(other.result).rejects.toThrow("Python has died.");
});
