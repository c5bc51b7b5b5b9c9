import { expect, test } from "vitest";
import type { BackendEvent } from "../../../ts/backend/backend.js";
import { endsWithin, failureOf, openHazards, seconds, useHazards } from "../../fixtures/bridge/support.js";

const session = useHazards({ interruptAfterMs: 300 });

/** Aborts after some milliseconds and gives the error and how long it took from the abort on. */
const abortAfter = async (
  milliseconds: number,
  start: (signal: AbortSignal) => Promise<unknown>,
): Promise<{ code: string; tookMs: number }> => {
  const controller = new AbortController();
  const call = failureOf(start(controller.signal));
  await seconds(milliseconds / 1000);
  const aborted = Date.now();
  controller.abort();
  return { code: (await call).code, tookMs: Date.now() - aborted };
};

test("a cooperative operation stops at its next step, before any signal", async () => {
  const { code, tookMs } = await abortAfter(200, (signal) => session().call("work", { steps: 10_000 }, { signal }));
  expect(code).toBe("cancelled");
  expect(tookMs).toBeLessThan(250);
  expect(await session().call("echo", { usable: true })).toEqual({ usable: true });
});

test("an operation that never looks is interrupted by a signal", async () => {
  const { code, tookMs } = await abortAfter(200, (signal) => session().call("sleep", { seconds: 30 }, { signal }));
  expect(code).toBe("cancelled");
  expect(tookMs).toBeGreaterThan(250);
  expect(tookMs).toBeLessThan(3000);
  expect(await session().call("echo", { usable: true })).toEqual({ usable: true });
});

test("an operation that serves no signal is killed, and the session with it", async () => {
  await using own = await openHazards({ interruptAfterMs: 100, killAfterMs: 300 });
  const queued = { error: "none" };
  const { code, tookMs } = await abortAfter(200, (signal) => {
    const call = own.call("spin_in_c", {}, { signal });
    void failureOf(own.call("echo", {})).then((error) => (queued.error = error.code));
    return call;
  });
  expect(code).toBe("cancelled");
  expect(tookMs).toBeLessThan(3000);
  expect(await endsWithin(own.pid ?? 0, 1000)).toBe(true);
  await expect.poll(() => queued.error).toBe("bridge/died");
  const later = await failureOf(own.call("echo", {}));
  expect(later.code).toBe("bridge/died");
  expect(later.message).toContain("the cancelled call of spin_in_c did not stop within 400 ms");
  expect(later.hint).toContain("Open a new session");
});

test("a call that swallows the cancel and gives a result is cancelled all the same", async () => {
  const { code } = await abortAfter(100, (signal) => session().call("swallow", {}, { signal }));
  expect(code).toBe("cancelled");
});

test("an aborted call in the queue never starts, and settles at once", async () => {
  const controller = new AbortController();
  const events: BackendEvent[] = [];
  const running = session().call("work", { steps: 60 });
  const queued = session().call("events", { count: 1 }, { signal: controller.signal, onEvent: (e) => events.push(e) });
  const failure = failureOf(queued);
  controller.abort("no longer needed");
  const start = Date.now();
  expect(await failure).toMatchObject({ code: "cancelled", cause: "no longer needed" });
  expect(Date.now() - start).toBeLessThan(100);
  expect(await running).toEqual({ steps: 60 });
  await session().call("echo", {});
  expect(events).toEqual([]);
});

test("a signal that is aborted already", async () => {
  expect((await failureOf(session().call("echo", {}, { signal: AbortSignal.abort() }))).code).toBe("cancelled");
});

test("an abort after the end changes nothing for the next call", async () => {
  const controller = new AbortController();
  await session().call("echo", {}, { signal: controller.signal });
  const next = session().call("work", { steps: 20 });
  controller.abort();
  expect(await next).toEqual({ steps: 20 });
});

test("aborts at random moments never meet another call", async () => {
  for (let round = 0; round < 60; round += 1) {
    const controller = new AbortController();
    const first = session()
      .call("work", { steps: 2, seconds: 0.001 }, { signal: controller.signal })
      .catch(() => {});
    const second = session().call("work", { steps: 2, seconds: 0.001 });
    await seconds((round % 12) / 2000);
    controller.abort();
    await first;
    expect(await second).toEqual({ steps: 2 });
  }
});

test("a time limit ends a running call and a waiting one", async () => {
  const running = failureOf(session().call("work", { steps: 10_000 }, { timeoutMs: 150 }));
  const waiting = failureOf(session().call("echo", {}, { timeoutMs: 50 }));
  expect((await waiting).code).toBe("bridge/timeout");
  expect(await running).toMatchObject({ code: "bridge/timeout", allowed: "150 ms" });
  expect(await session().call("echo", { usable: true })).toEqual({ usable: true });
});

test("a cancelled call waits for a raw call before it, which is not killed", async () => {
  await using own = await openHazards({ interruptAfterMs: 50, killAfterMs: 50 });
  const time = await own.python("time");
  const raw = time.sleep(1);
  const { code } = await abortAfter(50, (signal) => own.call("work", { steps: 10 }, { signal }));
  expect(code).toBe("cancelled");
  await raw;
  expect(await own.call("echo", { alive: true })).toEqual({ alive: true });
});

test("a call that waits for a JavaScript function is interrupted, and its late answer harms nobody", async () => {
  const answers: ((value: number) => void)[] = [];
  const id = await session().adopt(() => new Promise((resolve) => answers.push(resolve)));
  const { code } = await abortAfter(100, (signal) =>
    session().call("call_adopted", { object: id, arguments: [] }, { signal }),
  );
  expect(code).toBe("cancelled");
  answers[0]?.(1);
  expect(await session().call("echo", { usable: true })).toEqual({ usable: true });
  // A late answer may also come while another call waits for its own.
  const cancelled = await abortAfter(100, (signal) =>
    session().call("call_adopted", { object: id, arguments: [] }, { signal }),
  );
  expect(cancelled.code).toBe("cancelled");
  const next = session().call("call_adopted", { object: id, arguments: [] });
  await expect.poll(() => answers.length).toBe(3);
  answers[1]?.(2);
  answers[2]?.(3);
  expect(await next).toEqual({ value: 3 });
});

test("an error of the listener ends the call and is what it rejects with", async () => {
  const fault = new Error("the listener's own");
  const call = session().call(
    "work",
    { steps: 10_000 },
    {
      onEvent: () => {
        throw fault;
      },
    },
  );
  await expect(call).rejects.toBe(fault);
  expect(await session().call("echo", { usable: true })).toEqual({ usable: true });
});
