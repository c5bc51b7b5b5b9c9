import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import { MiloraError } from "../errors.js";

/** Whether a process lives; where the system tells command lines, only one whose line has `word`. */
const isAlive = (pid: number, word: string): boolean => {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  const commandLine = `/proc/${pid}/cmdline`;
  try {
    return !existsSync("/proc/self/cmdline") || readFileSync(commandLine, "utf8").includes(word);
  } catch {
    return false;
  }
};

const ownerIn = (file: string): number => {
  const pid = existsSync(file) ? Number(readFileSync(file, "utf8")) : Number.NaN;
  return Number.isInteger(pid) && pid > 0 ? pid : Number.NaN;
};

/** What a process that holds something is known by. */
export interface Owner {
  /** The file that holds its process id. */
  readonly file: string;
  /** A word of its command line, so that another process with the same id is not taken for it. */
  readonly word: string;
}

/**
 * Waits until the process that a file names is gone: a child of a killed sweep ends a moment after it.
 * @throws MiloraError `run/exists` where it still lives after `limitMs`.
 */
export const waitUntilGone = async ({ file, word }: Owner, limitMs: number): Promise<void> => {
  const pid = ownerIn(file);
  const deadline = Date.now() + limitMs;
  while (!Number.isNaN(pid) && isAlive(pid, word)) {
    if (Date.now() >= deadline)
      throw new MiloraError("run/exists", `Process ${pid} is still at work here (${file}).`, {
        file,
        found: String(pid),
        hint: `Wait for it or end it; remove ${file} if it has nothing to do with this.`,
      });
    await wait(50);
  }
};

export const writeOwner = (file: string, pid: number): void => writeFileSync(file, String(pid));

/**
 * Holds a folder for this process until the function that it returns is called.
 * @throws MiloraError `run/exists` where another living process holds it.
 */
export const holdFolder = async (owner: Owner): Promise<() => void> => {
  await waitUntilGone(owner, 0);
  writeOwner(owner.file, process.pid);
  return () => rmSync(owner.file, { force: true });
};
