import { statfsSync } from "node:fs";
import { MiloraError } from "../errors.js";
import { systemErrorCode } from "../util/files.js";

const refusals: Readonly<Record<string, string>> = {
  ENOSPC: "the disk is full",
  EDQUOT: "the quota is used up",
  EROFS: "it is read-only",
  EACCES: "it may not be written by this user",
  EPERM: "it may not be written by this user",
  ENOENT: "there is no such place",
  ENOTDIR: "a file stands where a folder is needed",
  EEXIST: "a file stands where a folder is needed",
};

/** A refusal of the disk as `run/disk`, with its reason in words; any other error as it is. */
export const diskError = (
  error: unknown,
  { what, file, hint }: { readonly what: string; readonly file: string; readonly hint?: string },
): unknown => {
  const code = systemErrorCode(error);
  const reason = code === undefined ? undefined : refusals[code];
  if (code === undefined || reason === undefined) return error;
  return new MiloraError("run/disk", `${what} ${file} could not be written: ${reason} (${code}).`, {
    file,
    found: code,
    cause: error,
    hint: hint ?? "Make room or choose another folder with --out, then go on with --resume.",
  });
};

/** Calls `work`; what the disk refuses in it becomes `run/disk`. */
export const onDisk = <Result>(
  place: { readonly what: string; readonly file: string },
  work: () => Result,
): Result => {
  try {
    return work();
  } catch (error) {
    throw diskError(error, place);
  }
};

const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;

/**
 * Looks before a save whether it will fit.
 * @throws MiloraError `run/disk` where the disk of `folder` has less than `bytes` free.
 */
export const checkFreeSpace = (folder: string, bytes: number): void => {
  const { bavail, bsize } = statfsSync(folder);
  const free = bavail * bsize;
  if (free >= bytes) return;
  throw new MiloraError(
    "run/disk",
    `${folder} has ${megabytes(free)} free; a checkpoint needs about ${megabytes(bytes)}. The older ones are whole.`,
    {
      file: folder,
      found: megabytes(free),
      allowed: `${megabytes(bytes)} or more`,
      hint: "Make room or lower train.keepCheckpoints, then go on with --resume.",
    },
  );
};
