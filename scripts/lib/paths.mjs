import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The checkout. */
export const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
/** Where the set-up keeps its lock and its stamps; not in version control. */
export const stateFolder = join(root, ".bootstrap");

export const progress = (text) => process.stderr.write(`${text}\n`);

export const readText = (file) => {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return undefined;
  }
};

/** A half-written file is never seen: it is written beside and renamed. */
export const writeAtomically = (file, text) => {
  mkdirSync(dirname(file), { recursive: true });
  const beside = `${file}.${process.pid}`;
  writeFileSync(beside, text);
  renameSync(beside, file);
};

/** All files under `folder` with this extension, relative to it, sorted. */
export const listFiles = (folder, extension) =>
  readdirSync(folder, { recursive: true })
    .map((name) => String(name).replaceAll("\\", "/"))
    .filter((name) => name.endsWith(extension))
    .toSorted();

export const hashOf = (parts) => {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(`${String(part).length}:`).update(String(part));
  return hash.digest("hex").slice(0, 16);
};
