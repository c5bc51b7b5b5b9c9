import { execFileSync } from "node:child_process";
import { hostname } from "node:os";
import { z } from "zod";
import { readTextIfThere, systemErrorCode } from "./files.js";

/** What names one process for good: ids are given again, but not with the same start. */
export const processIdentity = z.object({
  pid: z.int().positive(),
  host: z.string(),
  /** When it started, as the system writes it; null where the system does not say. */
  start: z.string().nullable(),
});
export type ProcessIdentity = z.output<typeof processIdentity>;

/** When a process started, and whether it ended and is only still listed (a zombie); undefined: not known. */
const listed = (pid: number): { readonly start: string | null; readonly ended: boolean } | undefined => {
  const stat = readTextIfThere(`/proc/${pid}/stat`);
  if (stat !== undefined) {
    // Counted behind the name, which may hold spaces: fields 3 and 22.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return { start: fields[19] ?? null, ended: fields[0] === "Z" };
  }
  if (process.platform === "linux") return undefined;
  try {
    const start = execFileSync("ps", ["-o", "lstart=", "-p", String(pid)], { encoding: "utf8" }).trim();
    return { start, ended: false };
  } catch {
    return undefined;
  }
};

/** A process of this machine; this one by default. */
export const identityOf = (pid = process.pid): ProcessIdentity => ({
  pid,
  host: hostname(),
  start: listed(pid)?.start ?? null,
});

/** Whether a process of this machine still runs. */
export const isRunning = ({ pid, start }: ProcessIdentity): boolean => {
  try {
    process.kill(pid, 0);
  } catch (error) {
    // EPERM: it is there, but somebody else's.
    if (systemErrorCode(error) !== "EPERM") return false;
  }
  const found = listed(pid);
  return found === undefined || (!found.ended && (start === null || start === found.start));
};
