import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { packageRoot } from "../../ts/bridge/environment/index.js";
import { errorCodes, exitCodeOf, MiloraError } from "../../ts/errors.js";

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

  it("ends a program with 1 for anything else", () => {
    expect(exitCodeOf(new Error("x"))).toBe(1);
  });
});
