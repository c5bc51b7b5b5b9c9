import { closeSync, openSync, readFileSync, renameSync, rmSync, statSync, utimesSync, writeSync } from "node:fs";
import { hostname } from "node:os";
import { z } from "zod";
import { MiloraError } from "../errors.js";
import { systemErrorCode } from "../util/files.js";
import { onDisk } from "./disk.js";

const holderSchema = z.object({
  pid: z.int(),
  host: z.string(),
  /** When the process began, so that another one with the same id is told apart; null where the system does not say. */
  began: z.string().nullable(),
});
type Holder = z.output<typeof holderSchema>;

/** The holder touches its lock this often; from another machine it counts as gone after `goneAfter`. */
const touchEvery = 15_000;
const goneAfter = 60_000;

/** Whether Linux's /proc knows a process: when it began, and whether it ended and is only still listed (a zombie). */
const listed = (pid: number): { readonly began: string | null; readonly ended: boolean } | undefined => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // Counted behind the name, which may hold spaces: fields 3 and 22.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return { began: fields[19] ?? null, ended: fields[0] === "Z" };
  } catch {
    return undefined;
  }
};

const me = (): Holder => ({ pid: process.pid, host: hostname(), began: listed(process.pid)?.began ?? null });

const isAlive = ({ pid, began }: Holder): boolean => {
  try {
    process.kill(pid, 0);
  } catch (error) {
    // EPERM: it is there, but somebody else's.
    if (systemErrorCode(error) !== "EPERM") return false;
  }
  const found = listed(pid);
  return found === undefined || (!found.ended && (began === null || began === found.began));
};

const holderOf = (file: string): Holder | undefined => {
  try {
    return holderSchema.parse(JSON.parse(readFileSync(file, "utf8")));
  } catch {
    // Its writer was killed within the write: nobody holds it.
    return undefined;
  }
};

const isHeld = (file: string, holder: Holder): boolean =>
  holder.host === hostname() ? isAlive(holder) : Date.now() - statSync(file).mtimeMs < goneAfter;

const inProgress = (root: string, file: string, holder: Holder | undefined): MiloraError => {
  const who = holder === undefined ? "another process" : `process ${holder.pid} on ${holder.host}`;
  return new MiloraError("run/exists", `The run in ${root} is in progress: ${who} holds it.`, {
    file,
    found: who,
    hint:
      holder === undefined || holder.host === hostname()
        ? "Wait for it, stop it, or choose another folder with --out."
        : "Where that machine is gone, try again in a minute.",
  });
};

const create = (file: string): boolean => {
  try {
    const handle = openSync(file, "wx");
    writeSync(handle, JSON.stringify(me()));
    closeSync(handle);
    return true;
  } catch (error) {
    if (systemErrorCode(error) === "EEXIST") return false;
    throw error;
  }
};

/** Renamed, not removed: of two processes that find the same dead lock only one moves it. */
const moveAway = (file: string): void => {
  const dead = `${file}.${process.pid}.dead`;
  try {
    renameSync(file, dead);
    rmSync(dead);
  } catch (error) {
    if (systemErrorCode(error) !== "ENOENT") throw error;
  }
};

/**
 * Takes a run's folder for this process; two runs in one folder would spoil each other's record.
 * @param root The run's folder; it must be there.
 * @returns a function that lets go of it.
 * @throws MiloraError `run/exists` while another process, or another run of this one, holds it; `run/disk`.
 */
export const lockRun = (root: string, file: string): (() => void) => {
  onDisk({ what: "The run's lock", file }, () => {
    if (create(file)) return;
    const holder = holderOf(file);
    if (holder !== undefined && isHeld(file, holder)) throw inProgress(root, file, holder);
    moveAway(file);
    if (!create(file)) throw inProgress(root, file, holderOf(file));
  });
  const touch = setInterval(() => {
    try {
      utimesSync(file, new Date(), new Date());
    } catch {
      // The folder may have been removed under the run; its next save will say so.
    }
  }, touchEvery);
  touch.unref();
  return () => {
    clearInterval(touch);
    rmSync(file, { force: true });
  };
};
