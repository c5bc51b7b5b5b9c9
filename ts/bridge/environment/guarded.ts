import { appendFileSync } from "node:fs";
import { execa } from "execa";
import { MiloraError } from "../../errors.js";
import type { Variables } from "./paths.js";

/**
 * Runs a module while stdin is open. The pipe closes when this process ends, for whatever reason; the child's whole
 * group then ends too, so that no pip goes on writing into an environment that the next call is repairing.
 * os.read, not sys.stdin: a thread that holds a stream's lock makes Python abort at its exit.
 */
const guardedMain = `
import os, runpy, signal, sys, threading
def watch():
    while os.read(0, 1): pass
    os.killpg(0, signal.SIGKILL)
threading.Thread(target=watch, daemon=True).start()
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
`;

const timeoutMs = 2 * 3_600_000;
const keptLines = 40;

export interface GuardedRun {
  readonly python: string;
  readonly module: string;
  readonly args: readonly string[];
  readonly variables: Variables;
  /** Gets all output, in order; appended to. */
  readonly logFile: string;
  readonly onLine?: ((line: string) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Variables that would lead pip or venv to another place than the environment being made. */
const misleading = ["PYTHONHOME", "PYTHONPATH", "PIP_TARGET", "PIP_PREFIX", "PIP_USER", "PIP_REQUIRE_VIRTUALENV"];

const childVariables = (variables: Variables): Record<string, string | undefined> => ({
  ...Object.fromEntries(Object.entries(variables).filter(([name]) => !misleading.includes(name))),
  PYTHONUNBUFFERED: "1",
});

const failure = (run: GuardedRun, how: string, lines: readonly string[]): MiloraError => {
  const said = lines.findLast((line) => /^\s*(ERROR|\w*Error)\b/u.test(line)) ?? lines.at(-1) ?? "no output";
  return new MiloraError("environment/install-failed", `python -m ${run.module} ${how}: ${said.trim()}`, {
    file: run.logFile,
    found: said.trim(),
    hint: `the whole output is in ${run.logFile}; call again to go on from here`,
  });
};

/** Runs `python -m module args` to its end; errors: `environment/install-failed`, `cancelled`. */
export const runGuarded = async (run: GuardedRun): Promise<void> => {
  const child = execa(run.python, ["-c", guardedMain, run.module, ...run.args], {
    all: true,
    buffer: false,
    detached: true,
    env: childVariables(run.variables),
    extendEnv: false,
    reject: false,
    stdin: "pipe",
    timeout: timeoutMs,
  });
  const stop = () => child.stdin.end();
  run.signal?.addEventListener("abort", stop, { once: true });
  if (run.signal?.aborted === true) stop();
  const lines: string[] = [];
  appendFileSync(run.logFile, `$ python -m ${run.module} ${run.args.join(" ")}\n`);
  for await (const line of child.iterable({ from: "all" })) {
    appendFileSync(run.logFile, `${line}\n`);
    if (lines.push(line) > keptLines) lines.shift();
    run.onLine?.(line);
  }
  const result = await child;
  run.signal?.removeEventListener("abort", stop);
  if (run.signal?.aborted === true) {
    throw new MiloraError("cancelled", `cancelled during python -m ${run.module}; call again to go on from here`);
  }
  if (result.signal !== undefined) throw failure(run, `was ended by ${result.signal}`, lines);
  if (result.failed) throw failure(run, `failed (exit code ${result.exitCode ?? "none"})`, lines);
};
