import type { z } from "zod";
import { hubPlaceText, type HubPlace, type HubUnit } from "../data/hub.js";
import { checkedRows } from "../data/read-rows.js";
import type { RawRow } from "../data/raw-rows.js";
import { parsed, type RowReading } from "../data/row.js";
import type { SplitName } from "../data/split.js";
import { MiloraError } from "../errors.js";
import type { HubChoice } from "../spec/data.js";

/** Files below a data folder, path → text, and how many rows have no use. */
export interface TaskFiles {
  readonly files: Readonly<Record<string, string>>;
  readonly dropped: number;
}

/** A split on the hub and the files of the task that its rows become. */
export interface HubFiles extends Pick<HubPlace, "config" | "split"> {
  /** Where it is not in the source's own data set. */
  readonly elsewhere?: Pick<HubPlace, "id" | "revision"> | undefined;
  readonly columns: readonly string[];
  /** `place`: names the split in errors. */
  readonly normalise: (rows: readonly RawRow[], place: string) => TaskFiles;
}

/** Where a task's rows are on the hub. */
export interface HubSource {
  readonly id: string;
  /** The commit that the mapping was written for; `main` where none is known. */
  readonly revision: string;
  /** What each of the task's splits needs. */
  readonly splits: Readonly<Partial<Record<SplitName, readonly HubFiles[]>>>;
  /** What a reader of scores should know of these rows, a phrase. */
  readonly note?: string | undefined;
}

/** How the rows of a split become files. */
export interface HubRowsOptions<Shape extends z.ZodRawShape, Local> {
  readonly config?: string | undefined;
  readonly split: string;
  readonly elsewhere?: HubFiles["elsewhere"];
  /** The columns that are read, and what they hold. */
  readonly fields: z.ZodObject<Shape>;
  /** Makes a row of the task's file of one of the hub; null where the task has no use for it. */
  readonly map: (row: z.output<z.ZodObject<Shape>>) => RowReading<Local | null>;
  readonly files: (rows: readonly Local[]) => Readonly<Record<string, string>>;
}

/** Rows of a split, each checked and mapped on its own; every malformed one is an error. */
export const hubRows = <Shape extends z.ZodRawShape, Local extends object>(
  options: HubRowsOptions<Shape, Local>,
): HubFiles => {
  const { config = null, split, elsewhere, fields, map, files } = options;
  const read = (value: unknown): RowReading<Local | null> => {
    const reading = parsed(fields, value, map);
    return "row" in reading ? reading.row : reading;
  };
  const normalise = (raw: readonly RawRow[], place: string): TaskFiles => {
    const rows = checkedRows(place, raw, read);
    const used = rows.filter((row) => row !== null);
    return { files: files(used), dropped: rows.length - used.length };
  };
  return { config, split, elsewhere, columns: Object.keys(fields.shape), normalise };
};

/** One file of JSON lines. */
export const linesFile =
  (file: string) =>
  (rows: readonly object[]): Readonly<Record<string, string>> => ({
    [file]: rows.map((row) => `${JSON.stringify(row)}\n`).join(""),
  });

const refuseConfig = (task: string, config: string): MiloraError =>
  new MiloraError("input/invalid-spec", `The rows of ${task} are in several configs of its data set, not in one.`, {
    path: "data.hub.config",
    found: config,
    allowed: "no config",
  });

/** The place of a part, with what the user chose in place of the source's own. */
const placeOf = (source: HubSource, part: HubFiles, { id, config, revision }: HubChoice): HubPlace => {
  const { split, elsewhere } = part;
  if (elsewhere !== undefined) return { ...elsewhere, config: part.config, split };
  // A commit of one data set means nothing in another.
  const own = id === undefined || id === source.id ? source.revision : "main";
  return { id: id ?? source.id, config: config ?? part.config, split, revision: revision ?? own };
};

/**
 * A split's rows on the hub as a folder of the cache, which is a data folder of the task.
 * Errors: `input/invalid-spec` for a config where a task has several.
 */
export const hubUnit = (
  task: { readonly name: string; readonly hub: HubSource; readonly split: SplitName },
  choice: HubChoice,
): HubUnit => {
  const { name, hub: source, split } = task;
  const parts = source.splits[split] ?? [];
  const configs = new Set(parts.filter(({ elsewhere }) => elsewhere === undefined).map(({ config }) => config));
  if (choice.config !== undefined && configs.size > 1) throw refuseConfig(name, choice.config);
  const places = parts.map((part) => ({ ...placeOf(source, part, choice), columns: part.columns }));
  return {
    name: `${name}-${split}`,
    parts: places,
    note: source.note,
    normalise: (rows) => {
      const made = parts.map((part, index) => {
        const place = places[index];
        return part.normalise(rows[index] ?? [], place === undefined ? name : hubPlaceText(place));
      });
      return {
        files: Object.assign({}, ...made.map(({ files }) => files)),
        dropped: made.reduce((total, { dropped }) => total + dropped, 0),
      };
    },
  };
};
