import { execa } from "execa";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { makeFolder } from "../util/files.js";
import { endWithParent } from "./end-with-parent.js";
import { waitUntilGone, writeOwner } from "./processes.js";

/** One call of our own program. */
export interface ChildCall {
  readonly args: readonly string[];
  /** The job's folder: it has the logs, and the id of the process at work. */
  readonly folder: string;
  /** Name of the log. */
  readonly log: string;
}

export interface ChildEnd {
  /** Null where a signal ended it. */
  readonly exitCode: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
}

export type StartChild = (call: ChildCall) => Promise<ChildEnd>;

const goneWithinMs = 20_000;

/**
 * Starts our own program, one process a call. Ctrl-C of the terminal does not reach it (it has a process group of its
 * own): an abort of `signal` sends it one SIGINT, so that it ends after the step, saved. It ends with this process,
 * also when this one is killed.
 */
export const childStarter =
  ({
    program,
    signal,
    env,
  }: {
    /** The command line of our program: node, its options, the main file. */
    readonly program: readonly [string, ...string[]];
    readonly signal: AbortSignal;
    readonly env: Readonly<Record<string, string>>;
  }): StartChild =>
  async ({ args, folder, log }) => {
    const owner = join(folder, "process");
    makeFolder(folder);
    await waitUntilGone(owner, goneWithinMs);
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
