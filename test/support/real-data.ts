import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";

/** Folder of the real benchmark files, beside the repository; it may be missing. */
export const realDataDir = resolve(fileURLToPath(new URL("../../../shared/data", import.meta.url)));

export const hasRealData = existsSync(realDataDir);

/** Appended to a test's name, so that a skipped one says why. */
export const realDataNote = hasRealData ? "" : " (skipped: the real data folder ../shared/data is missing)";
