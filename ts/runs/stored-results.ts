import { existsSync } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { z } from "zod";
import { MiloraError } from "../errors.js";
import { parseWith } from "../spec/parse.js";
import { readJsonFile } from "../util/files.js";
import { resultRecordSchema } from "./result-record.js";
import { runFolder } from "./run-folder.js";

const storedRow = z.object({ index: z.int(), prompt: z.string(), expected: z.string(), correct: z.boolean() });

/** What can be compared of a result: its protocol, and who was right where. */
export const storedResultSchema = z.object({
  task: z.string(),
  version: z.int(),
  split: z.string(),
  scorer: z.string(),
  reader: z.string().optional(),
  template: z.string(),
  templateHash: z.string(),
  protocol: z.string(),
  /** Null where the answers are to be judged. */
  accuracy: z.number().nullable(),
  unparsed: z.int(),
  /** Results of older versions have none. */
  record: resultRecordSchema.optional(),
  rows: z.array(storedRow),
});

export type StoredResult = z.output<typeof storedResultSchema>;

const outputsFile = z.object({ results: z.array(storedResultSchema) });

/** The name of a result among those of one model: what its file in a run's folder is called. */
export const resultName = ({
  task,
  scorer,
  reader,
}: {
  readonly task: string;
  readonly scorer: string;
  readonly reader?: string | undefined;
}): string => [task, scorer, ...(reader === undefined || reader === "robust" ? [] : [reader])].join("-");

const readFile = async (file: string): Promise<readonly StoredResult[]> => {
  const value = await readJsonFile(file, "the results");
  const several = typeof value === "object" && value !== null && "results" in value;
  const options = { what: "The result file", file };
  return several ? parseWith(outputsFile, value, options).results : [parseWith(storedResultSchema, value, options)];
};

const resultFiles = async (folder: string): Promise<readonly string[]> => {
  const { results } = runFolder(folder);
  const names = existsSync(results) ? await readdir(results) : [];
  return names.filter((name) => name.endsWith(".json")).map((name) => join(results, name)).toSorted(); // prettier-ignore
};

/**
 * Reads a file of `eval --outputs`, one of a run's `results/*.json`, or all of a run folder's.
 * Errors: `input/missing-file`; `input/invalid-spec` for what is no result.
 */
export const readResults = async (path: string): Promise<readonly StoredResult[]> => {
  const place = resolve(path);
  const isFolder = (await stat(place).catch(() => undefined))?.isDirectory() === true;
  const files = isFolder ? await resultFiles(place) : [place];
  if (files.length === 0)
    throw new MiloraError("input/missing-file", `${place} holds no results.`, {
      file: place,
      found: "no results/*.json",
      allowed: "a run's folder whose adapter was scored, or a file of milora eval --outputs",
      hint: `Score it: milora eval --adapter ${join(path, "adapter")} …`,
    });
  return (await Promise.all(files.map(readFile))).flat();
};
