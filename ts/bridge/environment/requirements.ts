import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pythonRoot } from "./paths.js";

/** The extras of the Python package that milora's own environment can hold. */
export type Extra = "demo" | "dev";

/** One entry of a requirements list, such as `torch` `>=2.13,<2.15`. */
export interface Requirement {
  readonly name: string;
  readonly specifier: string;
}

export interface Requirements {
  /** The Python versions allowed, such as `>=3.11,<3.14`. */
  readonly python: string;
  readonly base: readonly Requirement[];
  readonly extras: Readonly<Record<Extra, readonly Requirement[]>>;
}

const withoutComments = (text: string): string => text.replace(/^\s*#.*$/gmu, "");

const parseRequirement = (text: string): Requirement => {
  const [, name = text, specifier = ""] = /^([\w.-]+)\s*(.*)$/u.exec(text) ?? [];
  return { name, specifier: specifier.replaceAll(" ", "") };
};

const readArray = (toml: string, key: string): readonly Requirement[] => {
  const body = new RegExp(`^${key} = \\[([^\\]]*)\\]`, "mu").exec(toml)?.[1];
  if (body === undefined) throw new Error(`pyproject.toml has no array "${key}"`);
  return [...body.matchAll(/"([^"]+)"/gu)].map(([, entry = ""]) => parseRequirement(entry));
};

/** The requirements that the text of a pyproject.toml states. */
export const parseRequirements = (pyproject: string): Requirements => {
  const toml = withoutComments(pyproject);
  const python = /^requires-python = "([^"]+)"/mu.exec(toml)?.[1];
  if (python === undefined) throw new Error("pyproject.toml has no requires-python");
  return {
    python,
    base: readArray(toml, "dependencies"),
    extras: { demo: readArray(toml, "demo"), dev: readArray(toml, "dev") },
  };
};

/** The requirements of this package: py/pyproject.toml, the one list. */
export const loadRequirements = (): Requirements =>
  parseRequirements(readFileSync(join(pythonRoot, "pyproject.toml"), "utf8"));

/** `name==version` lines of a lock file. */
export const parseLock = (text: string): readonly Requirement[] =>
  text
    .split("\n")
    .map((line) => line.replace(/[#;].*$/u, "").trim())
    .filter((line) => line !== "")
    .map(parseRequirement);

/** The lock file of a stage; its versions are exact. */
export const lockFile = (stage: "packages" | Extra): string =>
  join(pythonRoot, stage === "packages" ? "requirements.lock" : `requirements-${stage}.lock`);

const releaseOf = (version: string): readonly number[] =>
  (/^\d+(?:\.\d+)*/u.exec(version)?.[0] ?? "0").split(".").map(Number);

const compareVersions = (left: string, right: string): number => {
  const [a, b] = [releaseOf(left), releaseOf(right)];
  for (let place = 0; place < Math.max(a.length, b.length); place += 1) {
    const difference = (a[place] ?? 0) - (b[place] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
};

const comparisons: Readonly<Record<string, (order: number) => boolean>> = {
  ">=": (order) => order >= 0,
  "<=": (order) => order <= 0,
  "==": (order) => order === 0,
  "!=": (order) => order !== 0,
  ">": (order) => order > 0,
  "<": (order) => order < 0,
};

/** Whether a version lies in a range such as `>=5.20,<5.24`; suffixes such as `+cpu` or `rc1` do not count. */
export const isAllowed = (version: string, specifier: string): boolean =>
  specifier
    .split(",")
    .filter((clause) => clause !== "")
    .every((clause) => {
      const [, operator = "", bound = ""] = /^([<>=!]=|[<>])(.+)$/u.exec(clause) ?? [];
      const compare = comparisons[operator];
      if (compare === undefined) throw new Error(`cannot read the version range "${clause}"`);
      return compare(compareVersions(version, bound));
    });
