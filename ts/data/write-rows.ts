import { writeFileAtomic } from "../util/files.js";
import type { Row } from "./row.js";

/** Writes rows as JSON lines, whole or not at all. Errors: `run/disk`. */
export const writeRows = async (path: string, rows: readonly Row[]): Promise<void> => {
  await writeFileAtomic(path, rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
};
