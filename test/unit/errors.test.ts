import { readFileSync } from "node:fs";
import { join } from "node:path";
import { inspect } from "node:util";
import { describe, expect, it } from "vitest";
import { packageRoot } from "../../ts/bridge/environment/index.js";
import { errorCodes, exitCodeOf, MiloraError, PythonError } from "../../ts/errors.js";

describe("MiloraError", () => {
  it("has the same codes on both sides, in the same order", () => {
    const python = readFileSync(join(packageRoot, "py", "milora", "errors.py"), "utf8");
    const [, list = ""] = /ERROR_CODES[^=]*= \(([\s\S]*?)\n\)/.exec(python) ?? [];
    expect([...list.matchAll(/"([^"]+)"/g)].map(([, code]) => code)).toEqual([...errorCodes]);
  });

  it("is known across two copies of the package", () => {
    const foreign = Object.assign(new Error("x"), { [Symbol.for("milora.error")]: true });
    expect(MiloraError.isInstance(foreign)).toBe(true);
    expect(MiloraError.isInstance(new Error("x"))).toBe(false);
    expect(MiloraError.isInstance(undefined)).toBe(false);
  });

  it.each([
    ["input/invalid-spec", 2],
    ["data/bad-row", 2],
    ["adapter/mismatch", 2],
    ["cancelled", 130],
    ["bridge/died", 1],
    ["environment/no-python", 1],
  ] as const)("%s ends a program with %d", (code, exit) => {
    expect(exitCodeOf(new MiloraError(code, "x"))).toBe(exit);
  });

  it("names the place in docs/errors.md that explains its code and says whether the input was wrong", () => {
    const page = readFileSync(join(packageRoot, "docs", "errors.md"), "utf8");
    const entries = [...page.matchAll(/^<a id="([^"]+)"><\/a>\n\*\*`([^`]+)`\*\* (● )?\S/gmu)];
    const found = entries.map(([, id, code, mark]) => ({
      docs: `docs/errors.md#${id}`,
      code,
      isInput: mark !== undefined,
    }));
    const expected = errorCodes.map((code) => {
      const error = new MiloraError(code, "x");
      return { docs: error.docs, code, isInput: exitCodeOf(error) === 2 };
    });
    expect(found).toHaveLength(errorCodes.length);
    expect(found).toEqual(expect.arrayContaining(expected));
  });

  it("is shown with the details that there are, Python's traceback as it stands, and its cause", () => {
    const traceback = "Traceback (most recent call last):\n  File x\nValueError: no\n";
    const python = new PythonError("python/exception", "ValueError: no", { pythonType: "ValueError", pythonModule: "builtins", traceback }); // prettier-ignore
    const text = inspect(new MiloraError("data/bad-row", "Bad row.", { line: 3, hint: "Mend it.", cause: python }));
    expect(text).toMatch(/^MiloraError: Bad row\.\n    at /);
    expect(text).toContain(
      "\n  code: data/bad-row\n  docs: docs/errors.md#data-bad-row\n  line: 3\n  hint: Mend it.\n",
    );
    expect(text).toMatch(/\n  cause: PythonError: ValueError: no\n/);
    expect(text).toMatch(/\n +traceback:\n +Traceback \(most recent call last\):\n +File x\n +ValueError: no$/);
    expect(text).not.toContain("undefined");
  });

  it("ends a program with 1 for anything else", () => {
    expect(exitCodeOf(new Error("x"))).toBe(1);
  });
});
