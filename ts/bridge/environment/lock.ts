import { execFileSync } from "node:child_process";
import { linkSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { MiloraError } from "../../errors.js";
import { systemErrorCode } from "../../util/files.js";
import { readJsonIfThere, readTextIfThere } from "./files.js";

const holderSchema = z.object({ pid: z.int().positive(), start: z.string().nullable() });

const pollMs = 200;
const waitLimitMs = 2 * 3_600_000;

/** When a process started, as the system writes it: with the pid it names one process for good. */
const startOf = (pid: number): string | null => {
  const stat = readTextIfThere(`/proc/${pid}/stat`);
  if (stat !== undefined) return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? null;
  if (process.platform === "linux") return null;
  try {
    return execFileSync("ps", ["-o", "lstart=", "-p", String(pid)], { encoding: "utf8" }).trim();
  } catch {
    return null;
  }
};

const livingHolder = (file: string): number | undefined => {
  const holder = holderSchema.safeParse(readJsonIfThere(file));
  if (!holder.success || holder.data.start === null) return undefined;
  return startOf(holder.data.pid) === holder.data.start ? holder.data.pid : undefined;
};

/** Makes the lock together with its content; false where there is one. */
const create = (file: string, content: string): boolean => {
  const beside = `${file}.new-${process.pid}`;
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

/** Moves a dead process's lock aside; where another process was quicker, its lock is put back. */
const removeStale = (file: string, seen: string): void => {
  const aside = `${file}.stale-${process.pid}`;
  try {
    renameSync(file, aside);
    if (readTextIfThere(aside) !== seen) linkSync(aside, file);
  } catch (error) {
    if (!["ENOENT", "EEXIST"].includes(systemErrorCode(error) ?? "")) throw error;
  } finally {
    rmSync(aside, { force: true });
  }
};

interface LockOptions {
  readonly signal?: AbortSignal | undefined;
  /** Called once where another process holds the lock. */
  readonly onWait?: ((pid: number) => void) | undefined;
}

const acquire = async (file: string, { signal, onWait }: LockOptions): Promise<void> => {
  mkdirSync(dirname(file), { recursive: true });
  const content = JSON.stringify({ pid: process.pid, start: startOf(process.pid) });
  const deadline = performance.now() + waitLimitMs;
  let told = false;
  while (!create(file, content)) {
    if (signal?.aborted === true) throw new MiloraError("cancelled", "cancelled while waiting for another set-up");
    const seen = readTextIfThere(file);
    const holder = livingHolder(file);
    if (holder === undefined) {
      if (seen !== undefined) removeStale(file, seen);
      continue;
    }
    if (performance.now() > deadline) {
      throw new MiloraError("environment/install-failed", `process ${holder} has held ${file} for two hours`, {
        hint: `end process ${holder}, then try again`,
      });
    }
    if (!told) onWait?.(holder);
    told = true;
    await sleep(pollMs);
  }
};

/** Runs `work` while no other process holds the lock. The lock of a process that is gone is taken over. */
export const withLock = async <Result>(
  file: string,
  work: () => Promise<Result>,
  options: LockOptions = {},
): Promise<Result> => {
  await acquire(file, options);
  try {
    return await work();
  } finally {
    rmSync(file, { force: true });
  }
};
