import { createHash, randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { MiloraError } from "../errors.js";
import { parseWith } from "../spec/parse.js";
import { makeFolder, readJsonFile, readTextFile, systemErrorCode, writeFileAtomic } from "../util/files.js";
import { counted } from "../util/text.js";
import { rawJsonLines, type RawRow } from "./raw-rows.js";

/** One split of a data set on the hub; `config` null is the data set's default. */
export interface HubPlace {
  readonly id: string;
  readonly config: string | null;
  readonly split: string;
  /** A branch, tag or commit. */
  readonly revision: string;
}

/** A split with the columns that are wanted of it. */
export interface HubPart extends HubPlace {
  readonly columns: readonly string[];
}

/** The hub, as the cache of its rows uses it. */
export interface Hub {
  /** milora's cache folder. */
  readonly home: string;
  /** Writes the columns of a split to a JSONL file; the operation `fetchHubRows`. */
  readonly fetch: (
    part: HubPart & { readonly file: string },
  ) => Promise<{ readonly rows: number; readonly commit: string | null; readonly datasets: string }>;
}

/** The hub where rows of it are asked for by name. Errors: `internal` where the caller has no Python to ask it with. */
export const neededHub = (hub: Hub | undefined): Hub => {
  if (hub === undefined)
    throw new MiloraError("internal", "Rows of the hub were asked for where it can't be reached.");
  return hub;
};

/** A folder of rows in the cache. */
export interface HubUnit {
  /** What the rows are, such as `arc-easy-test`; part of the folder's name. */
  readonly name: string;
  readonly parts: readonly HubPart[];
  /** What a reader of scores should know of these rows, a phrase. */
  readonly note?: string | undefined;
  /** The folder's files, path → text, of the parts' rows in the order of `parts`, and how many rows it left out. */
  readonly normalise: (rows: readonly (readonly RawRow[])[]) => {
    readonly files: Readonly<Record<string, string>>;
    readonly dropped: number;
  };
}

/** Raised when rows are normalised in another way: what was cached before is then fetched anew. */
const recordFormat = 1;

/** `source.json`: where the rows of a folder came from. */
const hubRecordSchema = z.object({
  /** The format of the record. */
  format: z.literal(recordFormat),
  /** What was fetched, split by split. */
  splits: z
    .array(
      z.object({
        /** The data set's id. */
        hub: z.string(),
        /** Its config; null: its default one. */
        config: z.string().nullable(),
        /** The split. */
        split: z.string(),
        /** As it was asked for. */
        revision: z.string(),
        /** As it was resolved; null where an offline cache did not tell. */
        commit: z.string().nullable(),
        /** How many rows. */
        rows: z.int(),
      }),
    )
    .min(1),
  /** Rows that the task has no use for. */
  dropped: z.int(),
  /** What a reader of scores should know of these rows, a phrase. */
  note: z.string().nullable(),
  /** The version of the Python library `datasets`. */
  datasets: z.string(),
  /** The files that were written, with their checksums. */
  files: z.array(
    z.object({
      /** Its name in the cache's folder. */
      file: z.string(),
      /** Of its bytes. */
      sha256: z.string(),
    }),
  ),
  /** When they were fetched, ISO 8601. */
  date: z.string(),
});

/** Where rows came from: the data set, its commit, the files, the date. */
export type HubRecord = z.output<typeof hubRecordSchema>;

/** `owner/name (config, split)`. */
export const hubPlaceText = ({ id, config, split }: Omit<HubPlace, "revision">): string =>
  `${id} (${config === null ? "" : `${config}, `}${split})`;

type FetchedSplit = HubRecord["splits"][number];

/** Splits of the same data set at the same commit as one phrase. */
const repositoryText = (splits: readonly FetchedSplit[], { hub, config, split, revision, commit }: FetchedSplit) => {
  const place = splits.length === 1 ? hubPlaceText({ id: hub, config, split }) : `${hub} (${splits.length} splits)`;
  const rows = splits.reduce((total, part) => total + part.rows, 0);
  const at = commit === null ? `revision ${revision}` : `commit ${commit.slice(0, 12)}`;
  return `${place} at ${at}, ${counted(rows, "row")}`;
};

/** Where rows came from, in words. */
export const hubRecordText = ({ splits, dropped, date, note }: HubRecord): string => {
  const isSame = (one: FetchedSplit, other: FetchedSplit): boolean =>
    one.hub === other.hub && one.commit === other.commit && one.revision === other.revision;
  const places = splits
    .filter((split, index) => splits.findIndex((other) => isSame(split, other)) === index)
    .map((first) =>
      repositoryText(
        splits.filter((split) => isSame(split, first)),
        first,
      ),
    );
  const left = dropped === 0 ? "" : `, ${dropped} of them without use`;
  const remark = note === null ? "" : `; ${note}`;
  return `the hub: ${places.join("; ")}${left}; fetched ${date.slice(0, 10)}${remark}`;
};

const sha256 = (content: string | Buffer): string => createHash("sha256").update(content).digest("hex");

const recordFile = (folder: string): string => join(folder, "source.json");

/** The same question gives the same folder, in every run. */
const folderOf = ({ home }: Hub, { name, parts }: HubUnit): string => {
  const [first] = parts;
  const key = sha256(JSON.stringify([recordFormat, name, parts])).slice(0, 12);
  const slug = `${(first?.id ?? "").replaceAll("/", "--")}-${name}`.replaceAll(/[^\w.-]/g, "-").slice(0, 80);
  return join(home, "hub", `${slug}-${key}`);
};

const readRecord = async (folder: string): Promise<HubRecord> => {
  const file = recordFile(folder);
  const value = await readJsonFile(file, "the record of cached rows");
  const record = parseWith(hubRecordSchema, value, { what: "The record of cached rows", file });
  for (const { file: name, sha256: expected } of record.files) {
    const path = join(folder, name);
    const found = sha256(await readFile(path).catch(() => ""));
    if (found !== expected)
      throw new MiloraError("data/bad-row", `${path} is not what was fetched from the hub: it changed since.`, {
        file: path,
        found,
        allowed: expected,
        hint: `Remove ${folder}; the rows are then fetched again.`,
      });
  }
  return record;
};

const fetchPart = async (hub: Hub, part: HubPart, file: string) => {
  const fetched = await hub.fetch({ ...part, file });
  const text = await readTextFile(file, "the fetched rows");
  await rm(file);
  // A row's place is its index in the split: what the hub's own viewer shows.
  const rows = rawJsonLines(text).map((row, item): RawRow => ({ ...row, line: undefined, item }));
  return { ...fetched, part, raw: rows };
};

const fillFolder = async (hub: Hub, unit: HubUnit, folder: string): Promise<HubRecord> => {
  const fetched: Awaited<ReturnType<typeof fetchPart>>[] = [];
  for (const part of unit.parts) fetched.push(await fetchPart(hub, part, join(folder, "fetched.jsonl")));
  const { files, dropped } = unit.normalise(fetched.map(({ raw }) => raw));
  for (const [name, text] of Object.entries(files)) await writeFileAtomic(join(folder, name), text);
  const record: HubRecord = {
    format: recordFormat,
    splits: fetched.map(({ part: { id, config, split, revision }, commit, rows }) => ({
      hub: id,
      config,
      split,
      revision,
      commit,
      rows,
    })),
    dropped,
    note: unit.note ?? null,
    datasets: fetched[0]?.datasets ?? "",
    files: Object.entries(files).map(([file, text]) => ({ file, sha256: sha256(text) })),
    date: new Date().toISOString(),
  };
  await writeFileAtomic(recordFile(folder), `${JSON.stringify(record, null, 2)}\n`);
  return record;
};

const makeCache = (folder: string): void => {
  try {
    makeFolder(folder);
  } catch (cause) {
    const reason = systemErrorCode(cause) ?? String(cause);
    throw new MiloraError("run/disk", `The cache folder ${folder} can't be made (${reason}).`, {
      file: folder,
      found: reason,
      hint: "Free some space, or name another cache folder with MILORA_HOME.",
      cause,
    });
  }
};

/** Another process may have made the same folder meanwhile; its rows are as good. */
const putInPlace = async (made: string, folder: string): Promise<void> => {
  try {
    await rename(made, folder);
  } catch (error) {
    if (!["ENOTEMPTY", "EEXIST"].includes(systemErrorCode(error) ?? "")) throw error;
  }
};

/**
 * The folder of a unit's rows, and where they came from: fetched and normalised once, read from the cache afterwards.
 * Errors: those of the operation `fetchHubRows`; `data/bad-row`, `data/empty`; `run/disk`.
 */
export const hubFolder = async (
  hub: Hub,
  unit: HubUnit,
): Promise<{ readonly folder: string; readonly record: HubRecord }> => {
  const folder = folderOf(hub, unit);
  if (existsSync(recordFile(folder))) return { folder, record: await readRecord(folder) };
  const aside = `${folder}.${process.pid}-${randomBytes(4).toString("hex")}.tmp`;
  makeCache(aside);
  try {
    await fillFolder(hub, unit, aside);
    await putInPlace(aside, folder);
  } finally {
    await rm(aside, { recursive: true, force: true });
  }
  return { folder, record: await readRecord(folder) };
};
