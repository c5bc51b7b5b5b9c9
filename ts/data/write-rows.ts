import { writeFileAtomic } from "../util/files.js";
import type { Row } from "./row.js";

/** Rows as JSON lines. */
export const rowLines = (rows: readonly Row[]): string => rows.map((row) => `${JSON.stringify(row)}\n`).join("");

/** Writes rows as JSON lines, whole or not at all. Errors: `run/disk`. */
export const writeRows = async (path: string, rows: readonly Row[]): Promise<void> => {
  await writeFileAtomic(path, rowLines(rows));
};
