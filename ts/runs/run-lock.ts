import { hostname } from "node:os";
import { MiloraError } from "../errors.js";
import { tryLock } from "../util/lock-file.js";
import { onDisk } from "./disk.js";

/**
 * Takes a run's folder for this process; two runs in one folder would spoil each other's record.
 * @param root The run's folder; it must be there.
 * @returns a function that lets go of it.
 * @throws MiloraError `run/exists` while another process, or another run of this one, holds it; `run/disk`.
 */
export const lockRun = (root: string, file: string): (() => void) => {
  const attempt = onDisk({ what: "The run's lock", file }, () => tryLock(file));
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
