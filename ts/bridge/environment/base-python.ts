import { accessSync, constants, statSync } from "node:fs";
import { delimiter, isAbsolute, join } from "node:path";
import { execa } from "execa";
import { MiloraError } from "../../errors.js";
import type { Variables } from "./paths.js";
import { isAllowed } from "./requirements.js";

/** A Python that can make virtual environments. */
export interface BasePython {
  readonly python: string;
  /** Such as `3.11`. */
  readonly minor: string;
}

const commandNames = ["python3.13", "python3.12", "python3.11", "python3", "python"] as const;
/** The minor versions that milora's own environment may have, in the order of {@link commandNames}. */
export const minorVersions = ["3.13", "3.12", "3.11"] as const;

const askVersion =
  "import sys, importlib.util as u; print(*sys.version_info[:3], sep='.'); print(all(map(u.find_spec, ('venv', 'ensurepip'))))";
const timeoutMs = 30_000;

const isExecutable = (file: string): boolean => {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
};

/** The files of this name in the folders of PATH, in its order. */
const onPath = (name: string, variables: Variables): readonly string[] =>
  (variables["PATH"] ?? "")
    .split(delimiter)
    .filter((folder) => isAbsolute(folder))
    .map((folder) => join(folder, name))
    .filter(isExecutable);

/** A path as it is; a bare command name as PATH finds it, or as it is where PATH does not. */
export const resolveCommand = (command: string, variables: Variables): string =>
  command.includes("/") ? command : (onPath(command, variables)[0] ?? command);

const candidates = (variables: Variables): ReadonlySet<string> =>
  new Set(commandNames.flatMap((name) => onPath(name, variables)));

const ask = async (python: string, allowed: string, variables: Variables): Promise<BasePython | string> => {
  const result = await execa(python, ["-c", askVersion], {
    env: { ...variables },
    extendEnv: false,
    reject: false,
    stdin: "ignore",
    timeout: timeoutMs,
  });
  const [version = "", complete] = result.stdout.trim().split("\n");
  if (result.failed || !/^\d+\.\d+\.\d+$/u.test(version)) return "does not run";
  if (!isAllowed(version, allowed)) return `is Python ${version}`;
  if (complete !== "True") return `is Python ${version} without the venv and ensurepip modules`;
  return { python, minor: version.split(".").slice(0, 2).join(".") };
};

const howToInstall = (): string =>
  process.platform === "darwin"
    ? "install one, for instance: brew install python@3.12"
    : "install one, for instance: apt-get install python3 python3-venv (Debian, Ubuntu), dnf install python3.12 (Fedora)";

/** The first Python of PATH in the allowed range that has venv. Errors: `environment/no-python`, naming all it tried. */
export const findBasePython = async (allowed: string, variables: Variables): Promise<BasePython> => {
  const tried: string[] = [];
  for (const candidate of candidates(variables)) {
    const answer = await ask(candidate, allowed, variables);
    if (typeof answer !== "string") return answer;
    tried.push(`${candidate} ${answer}`);
  }
  const found = tried.length === 0 ? `no ${commandNames.join(", ")} on PATH` : tried.join("; ");
  throw new MiloraError("environment/no-python", `no Python to make an environment with: ${found}`, {
    found,
    allowed: `Python ${allowed} with venv`,
    hint: `${howToInstall()}; or set MILORA_PYTHON to an interpreter that has the packages`,
    problems: tried,
  });
};
