import { writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { setTimeout as wait } from "node:timers/promises";
import { MiloraError } from "../errors.js";
import { onDisk } from "../runs/disk.js";
import { readJsonIfThere } from "../util/files.js";
import { tryLock } from "../util/lock-file.js";
import { identityOf, isRunning, processIdentity } from "../util/process-identity.js";

const stillAtWork = (file: string, pid: number | undefined): MiloraError => {
  const who = pid === undefined ? "Another process" : `Process ${pid}`;
  return new MiloraError("run/exists", `${who} is still at work here (${file}).`, {
    file,
    found: String(pid),
    hint: `Wait for it or end it; remove ${file} if it has nothing to do with this.`,
  });
};

/**
 * Waits until the process that a file names is gone: a child of a killed sweep ends a moment after it. Of another
 * machine's nothing is known; the run's own lock tells.
 * @throws MiloraError `run/exists` where it still lives after `limitMs`.
 */
export const waitUntilGone = async (file: string, limitMs: number): Promise<void> => {
  const { data: owner } = processIdentity.safeParse(readJsonIfThere(file));
  const deadline = Date.now() + limitMs;
  while (owner?.host === hostname() && isRunning(owner)) {
    if (Date.now() >= deadline) throw stillAtWork(file, owner.pid);
    await wait(50);
  }
};

/** Names a process of this machine in a file. */
export const writeOwner = (file: string, pid: number): void => writeFileSync(file, JSON.stringify(identityOf(pid)));

/**
 * Holds a folder for this process until the function that it returns is called.
 * @throws MiloraError `run/exists` where another living process holds it; `run/disk` where it can't be written.
 */
export const holdFolder = (file: string): (() => void) => {
  const attempt = onDisk({ what: "The sweep's folder", file }, () => tryLock(file));
  if (attempt.release === undefined) throw stillAtWork(file, attempt.holder?.pid);
  return attempt.release;
};
