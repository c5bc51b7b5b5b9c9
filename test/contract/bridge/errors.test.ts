import { expect, test } from "vitest";
import { PythonError } from "../../../ts/errors.js";
import { failureOf, useHazards } from "../../fixtures/bridge/support.js";

const session = useHazards();

test("a multi-line exception keeps its text, type, traceback and cause", async () => {
  const error = await failureOf(session().call("raise_with_cause", {}));
  expect(error).toBeInstanceOf(PythonError);
  expect(error).toMatchObject({ code: "python/exception", pythonType: "ValueError", pythonModule: "builtins" });
  expect(error.message).toBe("ValueError: line one\nline two\nline three: \u00FC\u4E16");
  expect(error).toHaveProperty("traceback", expect.stringMatching(/hazards\.py", line \d+, in raise_with_cause/));
  expect(error.cause).toMatchObject({ pythonType: "KeyError", message: "KeyError: 'missing key'" });
});

test("a milora error keeps its code and its place", async () => {
  expect(await failureOf(session().call("raise_milora", {}))).toMatchObject({
    code: "data/bad-row",
    message: "Row 7 has no answer.",
    file: "rows.jsonl",
    line: 7,
    problems: ["a", "b"],
    pythonType: "MiloraError",
  });
});

test.each([
  ["memory", { code: "memory/exhausted", pythonType: "MemoryError" }],
  ["disk", { code: "run/disk", pythonType: "OSError", file: "/somewhere/file" }],
  ["exit", { code: "python/exception", pythonType: "SystemExit", message: "SystemExit: 3" }],
  ["interrupt", { code: "python/exception", pythonType: "KeyboardInterrupt" }],
  ["generator", { code: "python/exception", pythonType: "GeneratorExit" }],
  ["silent", { code: "python/exception", message: "Exception: Exception" }],
])("%s is an error of its kind, and Python lives", async (kind, expected) => {
  const { pid } = session();
  expect(await failureOf(session().call("raise_system", { kind }))).toMatchObject(expected);
  expect(await session().call("echo", { pid })).toEqual({ pid });
});

test("sys.exit in a raw call is an error, and Python lives", async () => {
  const sys = await session().python("sys");
  expect(await failureOf(sys.exit(2))).toMatchObject({ code: "python/exception", pythonType: "SystemExit" });
  expect(await sys.intern("alive")).toBe("alive");
});

test("raw calls reject with the same errors as operations", async () => {
  const json = await session().python("json");
  const error = await failureOf(json.loads("{broken"));
  expect(error).toMatchObject({
    code: "python/exception",
    pythonType: "JSONDecodeError",
    pythonModule: "json.decoder",
  });
  expect(error.message).toMatch(/^JSONDecodeError: Expecting property name/);
  expect(error).toHaveProperty("traceback", expect.stringContaining("decoder.py"));
});

test("a module that is not there is an error that names it", async () => {
  const error = await failureOf(session().python("no_such_module"));
  expect(error.message).toBe("ModuleNotFoundError: No module named 'no_such_module'");
});

test("a raw property that is not there is an error", async () => {
  const math = await session().python("math");
  expect(await failureOf(math.no_such_name)).toMatchObject({ pythonType: "LookupError" });
});

test("a promise as a raw argument is an error, not the end of Node", async () => {
  const builtins = await session().python("builtins");
  expect((await failureOf(builtins.repr(Promise.resolve(1)))).message).toContain("You did not await a parameter");
  expect(await builtins.repr(1)).toBe("1");
});

test("a failed raw assignment is logged, not the end of Node", async () => {
  const complex = await (await session().python("builtins")).complex(1);
  complex.real = 2;
  expect(await complex.real).toBe(1);
});
