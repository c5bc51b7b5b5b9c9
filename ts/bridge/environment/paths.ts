import { createHash } from "node:crypto";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** Environment variables, passed in so that every choice can be tested. */
export type Variables = Readonly<Record<string, string | undefined>>;

/** The folder of package.json; the same from ts/ in a checkout and from dist/ in an installed package. */
export const packageRoot = join(dirname(fileURLToPath(import.meta.url)), "..", "..", "..");

/** The folder that holds the Python package `milora`; it goes on PYTHONPATH. */
export const pythonRoot = join(packageRoot, "py");

/** The user's cache folder of milora: `MILORA_HOME`, or milora/ in the platform's cache folder. */
export const miloraHome = (variables: Variables = process.env): string => {
  if (variables["MILORA_HOME"]) return variables["MILORA_HOME"];
  if (variables["XDG_CACHE_HOME"]) return join(variables["XDG_CACHE_HOME"], "milora");
  const home = variables["HOME"] ?? homedir();
  return process.platform === "darwin" ? join(home, "Library", "Caches", "milora") : join(home, ".cache", "milora");
};

/** A short checksum, for the names of folders and the keys of stages. */
export const shortHash = (...parts: readonly string[]): string =>
  createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 10);
