import { escapeMarkup } from "../util/text.js";

type Cell = string | number | boolean | null | undefined;

/** Rows by column name; columns are those of all rows, in the order in which they first come. */
export type Table = readonly Readonly<Record<string, Cell>>[];

/** Four significant digits; whole numbers as they are. */
export const shortNumber = (value: number): string =>
  Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(4)));

const columnsOf = (table: Table): readonly string[] => [...new Set(table.flatMap((row) => Object.keys(row)))];

const cellText = (value: Cell): string =>
  value === null || value === undefined ? "-" : typeof value === "number" ? shortNumber(value) : String(value);

const breaksMarked = (text: string): string => text.replaceAll(/\s*\n\s*/gu, " ⏎ ");

const isNumeric = (table: Table, column: string): boolean =>
  table.some((row) => typeof row[column] === "number") &&
  table.every((row) => ["number", "undefined"].includes(typeof (row[column] ?? undefined)));

/** A table as HTML; numbers stand at the right, text at the left with its lines as they are. */
export const tableHtml = (table: Table): string => {
  const columns = columnsOf(table);
  const styles = columns.map((column) =>
    isNumeric(table, column) ? "text-align:right" : "text-align:left;white-space:pre-wrap",
  );
  const line = (tag: "td" | "th", texts: readonly string[]): string =>
    `<tr>${texts.map((text, index) => `<${tag} style="${styles[index]}">${escapeMarkup(text)}</${tag}>`).join("")}</tr>`;
  const body = table.map((row) =>
    line(
      "td",
      columns.map((column) => cellText(row[column])),
    ),
  );
  return `<table><thead>${line("th", columns)}</thead><tbody>${body.join("")}</tbody></table>`;
};

/** A table as lines of text, one a row: line breaks in a cell are told by a sign. */
export const tableText = (table: Table): string => {
  const columns = columnsOf(table);
  const lines = [columns, ...table.map((row) => columns.map((column) => breaksMarked(cellText(row[column]))))];
  const widths = columns.map((_, index) => Math.max(...lines.map((line) => line[index]?.length ?? 0)));
  const padded = (text: string, index: number): string => {
    const width = widths[index] ?? 0;
    return isNumeric(table, columns[index] ?? "") ? text.padStart(width) : text.padEnd(width);
  };
  return lines.map((line) => line.map(padded).join("  ").trimEnd()).join("\n");
};
