import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, statSync } from "node:fs";
import { open, readFile, rename, rm } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { MiloraError } from "../errors.js";

/** The `code` of a system error such as ENOENT; undefined for anything else. */
export const systemErrorCode = (error: unknown): string | undefined =>
  error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;

/**
 * Makes a folder and those above it; a system error where it can't be made. Node's own way to do so tells a read-only disk as a missing folder, and never
 * returns where the system refuses a name (Node 20).
 */
export const makeFolder = (path: string): void => {
  try {
    mkdirSync(path);
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === "EEXIST" && statSync(path).isDirectory()) return;
    if (code !== "ENOENT" || existsSync(dirname(path))) throw error;
    makeFolder(dirname(path));
    makeFolder(path);
  }
};

/** Makes the names in a folder last: a rename is safe only after it. */
export const syncFolder = async (folder: string): Promise<void> => {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
};

const writeAndSync = async (path: string, text: string): Promise<void> => {
  const handle = await open(path, "wx");
  try {
    await handle.writeFile(text, "utf8");
    await handle.sync();
  } finally {
    await handle.close();
  }
};

/**
 * Writes a file whole or not at all: beside it, fsync, rename; missing folders are made.
 * Errors: `run/disk` (full, read-only, not permitted); the old file is then untouched.
 */
export const writeFileAtomic = async (path: string, text: string): Promise<void> => {
  const target = resolve(path);
  const beside = `${target}.${process.pid}-${randomBytes(4).toString("hex")}.tmp`;
  try {
    makeFolder(dirname(target));
    await writeAndSync(beside, text);
    await rename(beside, target);
    await syncFolder(dirname(target));
  } catch (cause) {
    await rm(beside, { force: true }).catch(() => undefined);
    const reason = systemErrorCode(cause) ?? String(cause);
    throw new MiloraError("run/disk", `Could not write ${target} (${reason}); what stood there before is untouched.`, {
      file: target,
      found: reason,
      hint: "Free some space or choose another folder.",
      cause,
    });
  }
};

/**
 * A text file's content without a byte order mark. `what` names it in errors, such as "the data file".
 * Errors: `input/missing-file` with the absolute path.
 */
export const readTextFile = async (path: string, what = "the file"): Promise<string> => {
  const target = resolve(path);
  try {
    const text = await readFile(target, "utf8");
    return text.startsWith("\uFEFF") ? text.slice(1) : text;
  } catch (cause) {
    const code = systemErrorCode(cause);
    const found = code === "ENOENT" || code === "ENOTDIR" ? "no such file" : code === "EISDIR" ? "a folder" : code;
    throw new MiloraError("input/missing-file", `Could not read ${what} ${target}: ${found ?? String(cause)}.`, {
      file: target,
      found,
      allowed: "a readable file",
      cause,
    });
  }
};

/** A JSON file's value. Errors: `input/missing-file`; `input/invalid-spec` where it is not JSON. */
export const readJsonFile = async (path: string, what = "the file"): Promise<unknown> => {
  const text = await readTextFile(path, what);
  try {
    const value: unknown = JSON.parse(text);
    return value;
  } catch (cause) {
    const file = resolve(path);
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new MiloraError("input/invalid-spec", `${file} is not JSON: ${reason}`, { file, allowed: "JSON", cause });
  }
};

/** The text of a file; undefined where it cannot be read. */
export const readTextIfThere = (file: string): string | undefined => {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return undefined;
  }
};

/** The JSON value of a file; undefined where the file is missing or garbled. */
export const readJsonIfThere = (file: string): unknown => {
  const text = readTextIfThere(file);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
};
