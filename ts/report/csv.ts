import type { DataValue, Report, ReportTable } from "./report-model.js";

/** A value as a cell of a CSV file (RFC 4180). */
export const csvCell = (value: DataValue): string => {
  const text = value === null ? "" : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};

/** Lines of values as a CSV file's text. */
export const tableText = (lines: readonly (readonly DataValue[])[]): string =>
  lines.map((line) => `${line.map(csvCell).join(",")}\n`).join("");

const recordsOf = (section: string, table: ReportTable): readonly ReadonlyMap<string, DataValue>[] =>
  table.rows.map(
    (row) =>
      new Map<string, DataValue>([
        ["section", section],
        ["table", table.title],
        ...Object.entries(table.context),
        ...row.flatMap(({ values }, index) =>
          (table.columns[index]?.csv ?? []).map((name, place): [string, DataValue] => [name, values[place] ?? null]),
        ),
      ]),
  );

/**
 * Every row of every table of a report in one CSV file: the columns of all tables, empty where a table has no such
 * column. Shares are between 0 and 1.
 */
export const reportCsv = ({ sections }: Report): string => {
  const records = sections.flatMap(({ title, tables }) => tables.flatMap((table) => recordsOf(title, table)));
  const names = [...new Set(["section", "table", ...records.flatMap((record) => [...record.keys()])])];
  return tableText([names, ...records.map((record) => names.map((name) => record.get(name) ?? null))]);
};
