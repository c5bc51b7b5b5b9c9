import { copyFileSync, existsSync, linkSync, mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";

/** Weights are linked, which costs no space; what people edit by hand is copied. */
const place = (from: string, to: string): void => {
  if (!from.endsWith(".safetensors")) return copyFileSync(from, to);
  try {
    return linkSync(from, to);
  } catch {
    // A file system without links.
    return copyFileSync(from, to);
  }
};

/** A second folder of the same adapter. Its files are never written in place, so both stay as they are now. */
export const linkAdapter = (from: string, to: string): void => {
  mkdirSync(to);
  for (const name of readdirSync(from)) place(join(from, name), join(to, name));
};

/** What a save of the adapter that was killed leaves beside it. */
const removeHalfSaved = (adapter: string): void => {
  const [folder, prefix] = [dirname(adapter), `.${basename(adapter)}.`];
  for (const name of readdirSync(folder))
    if (name.startsWith(prefix)) rmSync(join(folder, name), { recursive: true, force: true });
};

/**
 * Makes `adapter` the best one that a checkpoint holds: a run that was killed later may have saved a better one, or
 * have been killed within the save.
 */
export const restoreBestAdapter = (checkpoint: string, adapter: string): void => {
  removeHalfSaved(adapter);
  const best = join(checkpoint, "best");
  if (!existsSync(best)) return;
  const fresh = join(dirname(adapter), `.${basename(adapter)}.restored`);
  linkAdapter(best, fresh);
  rmSync(adapter, { recursive: true, force: true });
  renameSync(fresh, adapter);
};
