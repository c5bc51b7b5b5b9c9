import { readFileSync } from "node:fs";

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
