import { hostname } from "node:os";
import { setTimeout as wait } from "node:timers/promises";
import { MiloraError } from "../errors.js";
import { tryLock, type LockAttempt } from "../util/lock-file.js";
import { onDisk } from "./disk.js";

const attemptLock = (file: string): LockAttempt => onDisk({ what: "The run's lock", file }, () => tryLock(file));

const releaseOf = (root: string, file: string, attempt: LockAttempt): (() => void) => {
  if (attempt.release !== undefined) return attempt.release;
  const { holder } = attempt;
  const who = holder === undefined ? "another process" : `process ${holder.pid} on ${holder.host}`;
  throw new MiloraError("run/exists", `The run in ${root} is in progress: ${who} holds it.`, {
    file,
    found: who,
    hint:
      holder === undefined || holder.host === hostname()
        ? "Wait for it, stop it, or choose another folder with --out."
        : "Where that machine is gone, try again in a minute.",
  });
};

/**
 * Takes a run's folder for this process; two runs in one folder would spoil each other's record.
 * @param root The run's folder; it must be there.
 * @returns a function that lets go of it.
 * @throws MiloraError `run/exists` while another process, or another run of this one, holds it; `run/disk`.
 */
export const lockRun = (root: string, file: string): (() => void) => releaseOf(root, file, attemptLock(file));

/**
 * As {@link lockRun}, but waits so long for who holds it, and no longer than until `signal` is aborted.
 * @throws MiloraError as {@link lockRun}.
 */
export const lockRunWithin = async (
  root: string,
  file: string,
  { limitMs, signal }: { readonly limitMs: number; readonly signal: AbortSignal },
): Promise<() => void> => {
  const deadline = Date.now() + limitMs;
  let attempt = attemptLock(file);
  while (attempt.release === undefined && Date.now() < deadline && !signal.aborted) {
    await wait(100);
    attempt = attemptLock(file);
  }
  return releaseOf(root, file, attempt);
};
