import { readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { expect, test } from "vitest";
import { failureOf, openHazards, useHazards } from "../../fixtures/bridge/support.js";

const session = useHazards();

const flagFolders = (): string[] => readdirSync(tmpdir()).filter((name) => name.startsWith("milora-bridge-"));

const medianMs = async (count: number, run: (index: number) => Promise<unknown>): Promise<number> => {
  const times: number[] = [];
  for (let index = 0; index < count; index += 1) {
    const start = performance.now();
    await run(index);
    times.push(performance.now() - start);
  }
  return times.toSorted((a, b) => a - b)[Math.floor(count / 2)] ?? Number.NaN;
};

test("two sessions are two Pythons that know nothing of each other", async () => {
  await using other = await openHazards();
  expect(other.pid).not.toBe(session().pid);
  const [mine, theirs] = [await session().python("builtins"), await other.python("builtins")];
  mine.marker = "mine";
  expect(await mine.marker).toBe("mine");
  expect((await failureOf(theirs.marker)).code).toBe("python/exception");
  const both = await Promise.all([session().call("echo", { of: 1 }), other.call("echo", { of: 2 })]);
  expect(both).toEqual([{ of: 1 }, { of: 2 }]);
  await other.close();
  expect(await session().call("echo", { alive: true })).toEqual({ alive: true });
  expect((await failureOf(theirs.len([1]))).code).toBe("bridge/closed");
});

test("opening leaves this process's environment, globals and temporary folder as they were", async () => {
  const names = ["PYTHON_BIN", "REQ_TIMEOUT", "DEBUG", "PYTHONPATH"];
  const before = names.map((name) => process.env[name]);
  const foldersBefore = flagFolders();
  await using other = await openHazards();
  expect(names.map((name) => process.env[name])).toEqual(before);
  expect(Reflect.has(globalThis, "__pythonBridge")).toBe(false);
  expect(flagFolders().filter((name) => !foldersBefore.includes(name))).toEqual([]);
  expect(other.closed).toBe(false);
});

test("calls run one at a time, in the order in which they were made", async () => {
  const ended: number[] = [];
  const lengths = [30, 1, 10, 1, 20, 1];
  await Promise.all(
    lengths.map(async (steps, index) => {
      await session().call("work", { steps, seconds: 0.002 });
      ended.push(index);
    }),
  );
  expect(ended).toEqual([0, 1, 2, 3, 4, 5]);
});

test("adopt, expose and release join raw objects and operations", async () => {
  const functools = await session().python("functools");
  const operator = await session().python("operator");
  const add = await operator.add;
  const addFive = await functools.partial(add, 5);
  const id = await session().adopt(addFive);
  expect(await session().call("call_adopted", { object: id, arguments: [2] })).toEqual({ value: 7 });
  expect(await (await session().expose(id))(3)).toBe(8);
  await session().release(id);
  for (const attempt of [
    session().expose(id),
    session().release(id),
    session().call("call_adopted", { object: id, arguments: [2] }),
  ]) {
    expect(await failureOf(attempt)).toMatchObject({ code: "input/unknown-name", found: id });
  }
});

test("only objects of this Python can be adopted", async () => {
  await using other = await openHazards();
  const foreign = await other.python("math");
  for (const value of [foreign, 5, "text", null, {}, undefined]) {
    expect((await failureOf(session().adopt(value))).code).toBe("bridge/protocol");
  }
});

test("an operation can call a JavaScript function, 200 times in order", async () => {
  const seen: unknown[] = [];
  const id = await session().adopt(async (value: number) => {
    seen.push(value);
    return value * 2;
  });
  for (let value = 0; value < 200; value += 1) {
    const result = await session().call("call_adopted", { object: id, arguments: [value] });
    expect(result).toEqual({ value: value * 2 });
  }
  expect(seen).toEqual(Array.from({ length: 200 }, (_, value) => value));
  await session().release(id);
});

test("a JavaScript function may use raw Python in between, but not wait for an operation", async () => {
  const builtins = await session().python("builtins");
  const id = await session().adopt(async (value: number) => Number(await builtins.len([value, value])));
  expect(await session().call("call_adopted", { object: id, arguments: [1] })).toEqual({ value: 2 });
  const nested: unknown[] = [];
  const raw = await builtins.map(async () => {
    nested.push((await failureOf(session().call("echo", {}))).code);
    return 1;
  }, [1]);
  await builtins.list(raw);
  expect(nested).toEqual(["bridge/protocol"]);
});

test("a JavaScript function called from a Python thread is refused, and nothing is lost", async () => {
  const id = await session().adopt(() => 1);
  const result = await session().call("call_adopted_from_thread", { object: id });
  expect(result).toEqual({ raised: [expect.stringContaining("was called from the Python thread")] });
  expect(await session().call("call_adopted", { object: id, arguments: [] })).toEqual({ value: 1 });
});

test("ids of calls from Python and from JavaScript never meet", async () => {
  const main = await session().python("__main__");
  expect(Number(await main.bridge.executor.i)).toBeGreaterThanOrEqual(2 ** 40);
  const operator = await session().python("operator");
  const nested: Promise<unknown>[] = [];
  const id = await session().adopt(async () => {
    for (let value = 0; value < 60; value += 1) nested.push(operator.add(value, 1));
    await Promise.all(nested);
    return 42;
  });
  expect(await session().call("call_adopted", { object: id, arguments: [] })).toEqual({ value: 42 });
  expect(await Promise.all(nested)).toEqual(Array.from({ length: 60 }, (_, value) => value + 1));
});

test("an error in a JavaScript function is an error of the operation", async () => {
  const id = await session().adopt(() => {
    throw new Error("from JavaScript");
  });
  const error = await failureOf(session().call("call_adopted", { object: id, arguments: [] }));
  expect(error).toMatchObject({ code: "python/exception", pythonType: "JavaScriptError" });
  expect(error.message).toContain("from JavaScript");
});

test("1000 calls back to back cost little more than 1000 raw calls", async () => {
  const builtins = await session().python("builtins");
  const raw = async (): Promise<unknown> => builtins.len([]);
  const typed = (index: number): Promise<unknown> => session().call("echo", { index });
  await medianMs(100, raw);
  await medianMs(100, typed);
  const rounds = [];
  for (let round = 0; round < 3; round += 1) {
    rounds.push((await medianMs(1000, typed)) / (await medianMs(1000, raw)));
  }
  // About 2 here; the smallest of three, because another process may take the processor in one of them.
  expect(Math.min(...rounds)).toBeLessThan(4);
});

test("Python's own modules are not shadowed by the bridge's, and nobody else's json is changed", async () => {
  const { path } = Object(await session().call("environment", { names: [] }));
  expect(path.some((entry: string) => entry.includes("pythonia"))).toBe(false);
  const json = await session().python("json");
  expect((await failureOf(json.dumps(await (await session().python("builtins")).object()))).message).toBe(
    "TypeError: Object of type object is not JSON serializable",
  );
});

test("torch through a raw proxy", async () => {
  const torch = await session().python("torch");
  const ones = await torch.ones([2, 3]);
  const total = await ones.sum();
  expect(await total.item()).toBe(6);
  expect(await (await torch.log(await torch.zeros([1]))).item()).toBe(Number.NEGATIVE_INFINITY);
  const linear = await (await torch.nn).Linear(4, 2);
  const id = await session().adopt(linear);
  const same = await session().expose(id);
  expect(await (await (await same.weight).shape).valueOf()).toEqual([2, 4]);
  await session().release(id);
});
