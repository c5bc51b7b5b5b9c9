import { existsSync } from "node:fs";
import { join } from "node:path";
import { MiloraError } from "../../errors.js";
import { resolveCommand } from "./base-python.js";
import { ensureOwnEnvironment, findOwnEnvironment } from "./own-environment.js";
import { type ProbeReport, probeOnce } from "./probe.js";
import { describeProblem, findProblems, unmetError } from "./problems.js";
import type { OnProgress } from "./progress.js";
import { type Extra, type Requirements, loadRequirements } from "./requirements.js";
import type { Variables } from "./paths.js";

/** Where an interpreter came from: named by the user, the active conda or virtual environment, or milora's own. */
export type PythonSource = "MILORA_PYTHON" | "active" | "own";

/** A Python that has all that milora needs. */
export interface PythonEnvironment {
  /** The interpreter's path. */
  readonly python: string;
  readonly source: PythonSource;
  /** Whether this call installed anything. */
  readonly created: boolean;
  /** The versions of `python` and of every package that was looked at. */
  readonly versions: Readonly<Record<string, string>>;
  /** Why an active environment was passed over, one sentence each. */
  readonly notes: readonly string[];
}

export interface EnvironmentOptions {
  /** What is needed besides the packages to run: `demo` (the demo model), `dev` (tests and checks). */
  readonly extras?: readonly Extra[] | undefined;
  readonly onProgress?: OnProgress | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Instead of `process.env`. */
  readonly variables?: Variables | undefined;
  /** Instead of those of py/pyproject.toml. */
  readonly requirements?: Requirements | undefined;
}

interface Choice {
  readonly requirements: Requirements;
  readonly extras: readonly Extra[];
  readonly variables: Variables;
  readonly onProgress: OnProgress | undefined;
  readonly signal: AbortSignal | undefined;
}

const normalise = (options: EnvironmentOptions): Choice => ({
  requirements: options.requirements ?? loadRequirements(),
  extras: [...new Set(options.extras ?? [])],
  variables: options.variables ?? process.env,
  onProgress: options.onProgress,
  signal: options.signal,
});

const versionsOf = (report: ProbeReport): Readonly<Record<string, string>> => ({
  python: report.version,
  ...Object.fromEntries(
    Object.entries(report.packages).flatMap(([name, { version }]) => (version === null ? [] : [[name, version]])),
  ),
});

interface Found {
  readonly python: string;
  readonly source: PythonSource;
  readonly report: ProbeReport;
}

const chosenByUser = async (choice: Choice): Promise<Found | undefined> => {
  const named = choice.variables["MILORA_PYTHON"];
  if (named === undefined || named === "") return undefined;
  const python = resolveCommand(named, choice.variables);
  const report = await probeOnce({ python, ...choice });
  const problems = findProblems(report, choice.requirements, choice.extras);
  if (problems.length > 0) throw unmetError({ python, problems, requirements: choice.requirements });
  return { python, source: "MILORA_PYTHON", report };
};

/** The first active environment that has the requirements; notes say why others do not do. */
const active = async (
  choice: Choice,
): Promise<{ readonly found: Found | undefined; readonly notes: readonly string[] }> => {
  const notes: string[] = [];
  for (const variable of ["VIRTUAL_ENV", "CONDA_PREFIX"] as const) {
    const prefix = choice.variables[variable];
    const python = prefix === undefined ? "" : join(prefix, "bin", "python");
    if (!existsSync(python)) continue;
    try {
      const report = await probeOnce({ python, ...choice });
      const problems = findProblems(report, choice.requirements, choice.extras).map(describeProblem);
      if (problems.length === 0) return { found: { python, source: "active", report }, notes };
      notes.push(`the active environment ${prefix} is not used: ${problems.join("; ")}`);
    } catch (error) {
      if (!MiloraError.isInstance(error) || error.code === "cancelled") throw error;
      notes.push(`the active environment ${prefix} is not used: ${error.message}`);
    }
  }
  return { found: undefined, notes };
};

const select = async (
  choice: Choice,
): Promise<{ readonly found: Found | undefined; readonly notes: readonly string[] }> => {
  const named = await chosenByUser(choice);
  return named === undefined ? active(choice) : { found: named, notes: [] };
};

const describe = (found: Found, created: boolean, notes: readonly string[]): PythonEnvironment => ({
  python: found.python,
  source: found.source,
  created,
  versions: versionsOf(found.report),
  notes,
});

/**
 * The Python that would be used, without making one: `MILORA_PYTHON`, else an active environment that has the
 * requirements, else milora's own where it is whole, else undefined. Errors: `environment/no-python` and
 * `environment/missing-package` for a `MILORA_PYTHON` that does not do.
 */
export const findPython = async (options: EnvironmentOptions = {}): Promise<PythonEnvironment | undefined> => {
  const choice = normalise(options);
  const { found, notes } = await select(choice);
  if (found !== undefined) return describe(found, false, notes);
  const own = findOwnEnvironment(choice);
  return own === undefined ? undefined : describe({ ...own, source: "own" }, false, notes);
};

/**
 * The Python to use, made where there is none: a virtual environment in the user's cache folder. Whatever interrupts
 * it, the next call goes on. Errors: as {@link findPython}, `environment/install-failed`, `cancelled`.
 */
export const ensureEnvironment = async (options: EnvironmentOptions = {}): Promise<PythonEnvironment> => {
  const choice = normalise(options);
  const { found, notes } = await select(choice);
  if (found !== undefined) return describe(found, false, notes);
  const own = await ensureOwnEnvironment(choice);
  return describe({ ...own, source: "own" }, own.created, notes);
};
