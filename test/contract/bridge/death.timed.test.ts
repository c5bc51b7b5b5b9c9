import { expect, test } from "vitest";
import { BridgeDiedError } from "../../../ts/errors.js";
import { openSession } from "../../../ts/bridge/index.js";
import {
  endsWithin,
  failureOf,
  openHazards,
  seconds,
  startScript,
  testPython,
} from "../../fixtures/bridge/support.js";

test.each([
  ["exit", { exitCode: 7, signal: null }],
  ["segfault", { exitCode: null, signal: "SIGSEGV" }],
  ["kill", { exitCode: null, signal: "SIGKILL" }],
  ["terminate", { exitCode: null, signal: "SIGTERM" }],
  ["disconnect", { exitCode: null, signal: "SIGKILL" }],
])("Python that ends in a call (%s) rejects everything at once", async (kind, expected) => {
  await using session = await openHazards();
  const math = await session.python("math");
  const start = Date.now();
  const [running, queued, raw] = await Promise.all([
    failureOf(session.call("die", { kind })),
    failureOf(session.call("echo", {})),
    failureOf(math.floor(1.5)),
  ]);
  expect(Date.now() - start).toBeLessThan(3000);
  for (const error of [running, queued, raw]) {
    expect(error).toBeInstanceOf(BridgeDiedError);
    expect(error).toMatchObject({ code: "bridge/died", ...expected });
    expect(error.hint).toContain("Open a new session");
  }
  expect(running).toHaveProperty("stderr", expect.stringContaining("last words"));
  expect(running.message).toContain("last words");
  expect(session.closed).toBe(true);
  expect((await failureOf(session.call("echo", {}))).code).toBe("bridge/died");
  expect((await failureOf(session.python("math"))).code).toBe("bridge/died");
  expect((await failureOf(math.floor(1.5))).code).toBe("bridge/died");
});

test("a segmentation fault shows where it was", async () => {
  await using session = await openHazards();
  const error = await failureOf(session.call("die", { kind: "segfault" }));
  expect(error.message).toMatch(/Segmentation fault[^]*in die/);
});

test("Python killed from outside in the middle of a call", async () => {
  await using session = await openHazards();
  const call = failureOf(session.call("sleep", { seconds: 20 }));
  await seconds(0.3);
  const start = Date.now();
  process.kill(session.pid ?? 0, "SIGKILL");
  expect(await call).toMatchObject({ code: "bridge/died", signal: "SIGKILL" });
  expect(Date.now() - start).toBeLessThan(1000);
});

test("Python killed while nothing is asked of it", async () => {
  await using session = await openHazards();
  process.kill(session.pid ?? 0, "SIGKILL");
  await expect.poll(() => session.closed, { timeout: 3000 }).toBe(true);
  expect((await failureOf(session.call("echo", {}))).code).toBe("bridge/died");
});

test("proxies collected after Python's death do not end Node", async () => {
  const { code, stdout, stderr } = await startScript("collected-after-death.ts", { node: ["--expose-gc"] }).result;
  expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: "died\nalive function\n", stderr: "" });
});

test("an interpreter that is not there", async () => {
  const error = await failureOf(openSession({ python: "/nowhere/python3" }));
  expect(error).toMatchObject({ code: "environment/no-python", file: "/nowhere/python3" });
  expect(error.found).toContain("ENOENT");
});

test("a program that is no Python", async () => {
  const error = await failureOf(openSession({ python: "/bin/false" }));
  expect(error).toMatchObject({ code: "bridge/died", exitCode: 1 });
});

test("an operation module that is not there", async () => {
  const error = await failureOf(openSession({ python: testPython(), opModules: ["no_such_module"] }));
  expect(error.message).toBe("ModuleNotFoundError: No module named 'no_such_module'");
});

test("a Python that does not start in time is ended", async () => {
  const start = Date.now();
  const error = await failureOf(openSession({ python: testPython(), openTimeoutMs: 1 }));
  expect(error.code).toBe("bridge/timeout");
  expect(Date.now() - start).toBeLessThan(5000);
});

test("closing ends Python, also a busy one, and everything after it is refused", async () => {
  const session = await openHazards();
  const running = failureOf(session.call("spin_in_c", {}));
  const queued = failureOf(session.call("echo", {}));
  await seconds(0.2);
  await session.close();
  expect((await queued).code).toBe("bridge/closed");
  expect((await running).code).toBe("bridge/closed");
  expect(await endsWithin(session.pid ?? 0, 1000)).toBe(true);
  expect((await failureOf(session.call("echo", {}))).code).toBe("bridge/closed");
  expect((await failureOf(session.python("math"))).code).toBe("bridge/closed");
  await session.close();
});
