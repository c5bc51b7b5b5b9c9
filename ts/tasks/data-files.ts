import { isUtf8 } from "node:buffer";
import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { z } from "zod";
import { rawJsonArray, rawJsonLines } from "../data/raw-rows.js";
import { checkedRows } from "../data/read-rows.js";
import { parsed } from "../data/row.js";
import { MiloraError } from "../errors.js";
import { readTextFile } from "../util/files.js";

/** Where a task's rows are looked for. */
export interface TaskFileOptions {
  readonly task: string;
  /** Folder that holds one folder a task. */
  readonly dir: string | undefined;
  /** The folders below `dir`, the preferred one first; the task's name by default. */
  readonly folders?: readonly string[] | undefined;
  /** The file's names, the preferred one first. */
  readonly names: readonly string[];
  /** Where the data can be had. */
  readonly hint: string;
}

const shownFiles = 5;

const shortened = (items: readonly string[]): string =>
  items.length > shownFiles
    ? `${items.slice(0, shownFiles).join(", ")}, … (${items.length} in all)`
    : items.join(", ");

const whatIsThere = async (folder: string): Promise<string> => {
  const entries = (await readdir(folder).catch(() => [])).toSorted((left, right) => (left < right ? -1 : 1));
  return entries.length === 0 ? "it is empty" : `it holds ${shortened(entries)}`;
};

const missingFile = async (options: TaskFileOptions): Promise<MiloraError> => {
  const { task, dir, names, hint, folders = [task] } = options;
  const [folder = task] = folders;
  const path = dir === undefined ? undefined : resolve(dir, folder);
  const there = (dir === undefined ? [] : folders.map((name) => resolve(dir, name))).find((name) => existsSync(name));
  const found =
    there === undefined
      ? path === undefined
        ? "no data folder was given"
        : `there is no ${path}`
      : `${there} has no known file: ${await whatIsThere(there)}`;
  return new MiloraError("input/missing-file", `The task ${task} needs its data files, and ${found}.`, {
    file: there ?? path,
    path: "data.dir",
    found,
    allowed: `a folder with one of ${shortened(names.map((name) => `${folder}/${name}`))}`,
    hint,
  });
};

/** The first of a task's files that is there, absolute; undefined where none is. */
export const findTaskFile = ({ task, dir, names, folders = [task] }: TaskFileOptions): string | undefined =>
  dir === undefined
    ? undefined
    : folders
        .flatMap((folder) => names.map((name) => resolve(join(dir, folder, name))))
        .find((file) => existsSync(file));

/** As {@link findTaskFile}. Errors: `input/missing-file`, with what is there instead. */
export const taskFile = async (options: TaskFileOptions): Promise<string> => {
  const file = findTaskFile(options);
  if (file === undefined) throw await missingFile(options);
  return file;
};

const firstBadLine = (bytes: Buffer): number => {
  let line = 1;
  let start = 0;
  for (let end = bytes.indexOf(10); end >= 0 && isUtf8(bytes.subarray(start, end)); end = bytes.indexOf(10, start)) {
    line += 1;
    start = end + 1;
  }
  return line;
};

/**
 * A file's text. `what` names it in errors.
 * Errors: `input/missing-file`; `data/bad-row` with the line where it is not UTF-8.
 */
export const readTaskText = async (file: string, what = "the task's data"): Promise<string> => {
  const text = await readTextFile(file, what);
  // Decoding turns bad bytes into this character; a text that really holds it is passed by the second look.
  if (!text.includes("\uFFFD")) return text;
  const bytes = await readFile(file);
  if (isUtf8(bytes)) return text;
  const line = firstBadLine(bytes);
  throw new MiloraError("data/bad-row", `${file}, line ${line}: found bytes that are not UTF-8, allowed: UTF-8 text`, {
    file,
    line,
    found: "bytes that are not UTF-8",
    allowed: "UTF-8 text",
    hint: "Convert the file to UTF-8.",
  });
};

/** Text with something in it. `what` says what is allowed. */
export const filled = (what: string): z.ZodType<string> =>
  z.string({ error: what }).regex(/\S/, { error: `${what}, not empty` });

/** A row whose schema its fields tell, so that an error speaks of one form only. */
export const rowByFields = <Row>(schemaOf: (value: object) => z.ZodType<Row>): z.ZodType<Row> =>
  z.looseObject({}, { error: "an object" }).transform((value, context) => {
    const result = schemaOf(value).safeParse(value);
    if (result.success) return result.data;
    for (const { path, message } of result.error.issues) context.addIssue({ code: "custom", path, message });
    return z.NEVER;
  });

/** The rows of a JSON array or of JSON lines. Errors: those of {@link readTaskText}; `data/bad-row`; `data/empty`. */
export const readTaskRows = async <Row>(file: string, schema: z.ZodType<Row>): Promise<readonly Row[]> => {
  const text = await readTaskText(file);
  const raw = text.trimStart().startsWith("[") ? rawJsonArray(text) : rawJsonLines(text);
  return checkedRows(file, raw, (value) => parsed(schema, value, (row) => row));
};
