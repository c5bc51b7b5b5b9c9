import { execa } from "execa";
import { rmSync } from "node:fs";
import { join } from "node:path";
import type { Machine } from "../runs/sweep-record.js";
import { makeFolder } from "../util/files.js";
import { endWithParent } from "./end-with-parent.js";
import { waitUntilGone, writeOwner } from "./processes.js";

/** One call of our own program. */
export interface ChildCall {
  readonly args: readonly string[];
  /** Name of the log. */
  readonly log: string;
}

/** Calls of our own program, one after another; each only where the one before ended with 0. */
export interface ChildWork {
  readonly calls: readonly ChildCall[];
  /** The job's folder: it has the logs, and the id of the process at work. */
  readonly folder: string;
  /** Told when the first call begins, which may be long after it was asked for. */
  readonly onStart?: (() => void) | undefined;
}

export interface ChildEnd {
  /** Null where a signal ended it. */
  readonly exitCode: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** What became of the calls. */
export interface WorkEnd {
  /** Of those that were made, in their order. */
  readonly ends: readonly ChildEnd[];
  /** How the machine went that did the work; what it came to is then not known. */
  readonly lost?: string | undefined;
  /** That of the calls, where it may be another than this one. */
  readonly machine?: Machine | undefined;
}

export type StartChildren = (work: ChildWork) => Promise<WorkEnd>;

/** The command line of our program: node, its options, the main file. */
export type OwnProgram = readonly [string, ...string[]];

export interface ChildOptions {
  readonly program: OwnProgram;
  readonly signal: AbortSignal;
  readonly env: Readonly<Record<string, string>>;
}

const goneWithinMs = 20_000;

const runChild = async (
  { args, log }: ChildCall,
  folder: string,
  { program, signal, env }: ChildOptions,
): Promise<ChildEnd> => {
  const owner = join(folder, "process");
  const [file, ...options] = program;
  const logFile = { file: join(folder, log), append: true } as const;
  const child = execa(file, [...options, ...args], {
    reject: false,
    stdin: "ignore",
    stdout: ["pipe", logFile],
    stderr: ["pipe", logFile],
    ipc: true,
    detached: true,
    forceKillAfterDelay: false,
    env: { ...env, [endWithParent]: "1" },
  });
  if (child.pid !== undefined) writeOwner(owner, child.pid);
  const stop = (): boolean => child.kill("SIGINT");
  signal.addEventListener("abort", stop, { once: true });
  if (signal.aborted) stop();
  try {
    const { exitCode = null, signal: endSignal = null, stdout, stderr } = await child;
    return { exitCode, signal: endSignal, stdout, stderr };
  } finally {
    signal.removeEventListener("abort", stop);
    rmSync(owner, { force: true });
  }
};

/**
 * Starts our own program, one process a call. Ctrl-C of the terminal does not reach it (it has a process group of its
 * own): an abort of `signal` sends it one SIGINT, so that it ends after the step, saved. It ends with this process,
 * also when this one is killed.
 */
export const childStarter =
  (options: ChildOptions): StartChildren =>
  async ({ calls, folder, onStart }) => {
    makeFolder(folder);
    await waitUntilGone(join(folder, "process"), goneWithinMs);
    onStart?.();
    const ends: ChildEnd[] = [];
    for (const call of calls) {
      const end = await runChild(call, folder, options);
      ends.push(end);
      if (end.exitCode !== 0) break;
    }
    return { ends };
  };
