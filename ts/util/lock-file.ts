import { randomBytes } from "node:crypto";
import { existsSync, linkSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { readJsonIfThere, readTextIfThere, systemErrorCode } from "./files.js";
import { identityOf, isRunning, processIdentity, type ProcessIdentity } from "./process-identity.js";

/** A holder touches its lock this often, in milliseconds; one of another machine is gone after `goneAfter` without. */
const touchEvery = 15_000;
const goneAfter = 60_000;
/** Taking over takes a moment; whoever was killed within it left its guard. */
const guardGoneAfter = 10_000;

/** The lock, or who has it: undefined where that is being decided at this moment. */
export type LockAttempt =
  | { readonly release: () => void }
  | { readonly release: undefined; readonly holder: ProcessIdentity | undefined };

/** Makes a file together with its content; false where there is one. */
const create = (file: string, content: string): boolean => {
  const beside = `${file}.${randomBytes(4).toString("hex")}.new`;
  writeFileSync(beside, content);
  try {
    linkSync(beside, file);
    return true;
  } catch (error) {
    if (systemErrorCode(error) === "EEXIST") return false;
    throw error;
  } finally {
    rmSync(beside, { force: true });
  }
};

const ageOf = (file: string): number => {
  const found = statSync(file, { throwIfNoEntry: false });
  return found === undefined ? 0 : Date.now() - found.mtimeMs;
};

const livingHolder = (file: string): ProcessIdentity | undefined => {
  const { data: holder } = processIdentity.safeParse(readJsonIfThere(file));
  if (holder === undefined) return undefined;
  const lives = holder.host === hostname() ? isRunning(holder) : ageOf(file) < goneAfter;
  return lives ? holder : undefined;
};

/**
 * Takes a dead lock's place. Under a guard: as long as a lock is there none can be made, so what the guard's holder sees
 * dead stays so until it is replaced, and the lock of one that was quicker is never lost.
 */
const takeOver = (file: string, content: string): boolean => {
  const guard = `${file}.takeover`;
  if (!create(guard, content)) {
    if (ageOf(guard) > guardGoneAfter) rmSync(guard, { force: true });
    return false;
  }
  const isDead = existsSync(file) && livingHolder(file) === undefined;
  if (isDead) renameSync(guard, file);
  else rmSync(guard, { force: true });
  return isDead || create(file, content);
};

/** A holder that slept too long may have lost its lock: it leaves that of another alone. */
const held = (file: string, content: string): { readonly release: () => void } => {
  const isMine = (): boolean => readTextIfThere(file) === content;
  const touch = setInterval(() => {
    try {
      if (isMine()) utimesSync(file, new Date(), new Date());
    } catch {
      // Its folder may have been removed; whoever writes there next will say so.
    }
  }, touchEvery);
  touch.unref();
  return {
    release: () => {
      clearInterval(touch);
      if (isMine()) rmSync(file, { force: true });
    },
  };
};

/**
 * Takes a lock for this process, in a folder that is there. The lock of a process that is gone is taken over, as is one
 * that was not written to its end; that of another machine a minute after its last sign of life.
 * Errors: those of the file system.
 */
export const tryLock = (file: string): LockAttempt => {
  // The token tells apart what one process takes twice, and processes of containers that share id, host and folder.
  const content = JSON.stringify({ ...identityOf(), token: randomBytes(8).toString("hex") });
  if (create(file, content)) return held(file, content);
  const holder = livingHolder(file);
  if (holder !== undefined) return { release: undefined, holder };
  return takeOver(file, content) ? held(file, content) : { release: undefined, holder: livingHolder(file) };
};
