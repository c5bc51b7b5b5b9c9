import { CsvError, parse } from "csv-parse/sync";
import { z } from "zod";
import { shown } from "../util/text.js";
import { jsonArrayItems } from "./json-items.js";
import type { FieldProblem } from "./row.js";

/** A row before its fields were looked at: where it stands, and its value or why it has none. */
export interface RawRow {
  readonly line: number | undefined;
  /** Index in a JSON array. */
  readonly item: number | undefined;
  readonly value: unknown;
  readonly problem?: FieldProblem | undefined;
}

const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

const parseValue = (text: string, line: number, item?: number): RawRow => {
  try {
    const value: unknown = JSON.parse(text);
    return { line, item, value };
  } catch (error) {
    const found = `${shown(text, 40)} (${reasonOf(error)})`;
    return { line, item, value: undefined, problem: { field: "", found, allowed: "one JSON object" } };
  }
};

/** JSON lines; blank lines are passed over. */
export const rawJsonLines = (text: string): readonly RawRow[] =>
  text
    .split(/\r\n|\n|\r/)
    .flatMap((content, index) => (content.trim() === "" ? [] : [parseValue(content, index + 1)]));

/** A JSON array of rows. */
export const rawJsonArray = (text: string): readonly RawRow[] => {
  const items = jsonArrayItems(text);
  const rows = items.map((item, index) => parseValue(item.text, item.line, index));
  if (rows.some((row) => row.problem !== undefined)) return rows;
  try {
    JSON.parse(text);
    return rows;
  } catch (error) {
    // Every item is well formed, so the fault is between or after them.
    const problem = { field: "", found: reasonOf(error), allowed: "a whole JSON array" };
    return [...rows, { line: text.trimEnd().split("\n").length, item: undefined, value: undefined, problem }];
  }
};

const csvRecords = z.array(z.object({ record: z.array(z.string()), info: z.object({ lines: z.number() }) }));

const lineBreaks = (fields: readonly string[]): number =>
  fields.reduce((sum, field) => sum + (field.match(/\r\n|\n|\r/g)?.length ?? 0), 0);

const csvProblem = (line: number | undefined, found: string, allowed: string): RawRow => ({
  line,
  item: undefined,
  value: undefined,
  problem: { field: "", found, allowed },
});

/** Comma-separated values with a header row; other columns than the ones a row needs are passed over. */
export const rawCsv = (text: string): readonly RawRow[] => {
  let records: z.output<typeof csvRecords>;
  try {
    records = csvRecords.parse(parse(text, { info: true, relax_column_count: true, skip_empty_lines: true }));
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    return [csvProblem(typeof error["lines"] === "number" ? error["lines"] : undefined, error.message, "quoted CSV")];
  }
  const header = records.at(0)?.record.map((name) => name.trim()) ?? [];
  if (records.length > 0 && !(header.includes("prompt") && header.includes("answer"))) {
    return [csvProblem(1, `the header ${shown(header)}`, "a header with the columns prompt and answer")];
  }
  return records.slice(1).map(({ record, info }) => {
    // csv-parse counts the lines up to the record's end.
    const line = info.lines - lineBreaks(record);
    if (record.length !== header.length) {
      return csvProblem(line, `${record.length} fields`, `${header.length} fields, as many as the header has`);
    }
    const value = Object.fromEntries(header.map((name, index) => [name, record[index]]));
    return { line, item: undefined, value };
  });
};
