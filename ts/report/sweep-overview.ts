import { grouped, marksOf, numberCell, numberColumn, percent, textCell, textColumn } from "./cells.js";
import type { Cell, ReportTable } from "./report-model.js";
import { activatedCell, activatedColumn, markedMedians } from "./sweep-result-table.js";
import type { SweepTable } from "./sweep-table.js";

const columnTitle = ({ group, task }: SweepTable): string =>
  task === null || group === task ? group : `${group}: ${task}`;

const mean = (values: readonly (number | null)[]): number | null => {
  const present = values.filter((value) => value !== null);
  return present.length < values.length ? null : present.reduce((total, value) => total + value, 0) / present.length;
};

const meanCells = (values: readonly (number | null)[]): readonly Cell[] => {
  const marks = marksOf(values, true);
  return values.map((value, index) => ({ ...numberCell(value, percent), mark: marks[index] }));
};

/**
 * Methods × tasks in one table, as the paper prints them: median accuracies and their mean, which only a row with all
 * of them has. Nothing where there are fewer than two tasks.
 */
export const sweepOverview = (all: readonly SweepTable[]): ReportTable | undefined => {
  const tables = all.filter(({ measure }) => measure === "accuracy");
  if (tables.length < 2) return undefined;
  const names = [...new Set(tables.flatMap(({ rows }) => rows.map(({ row }) => row)))];
  const medians = tables.map((table) => ({ table, cells: markedMedians(table) }));
  const placeOf = (table: SweepTable, name: string): number => table.rows.findIndex(({ row }) => row === name);
  const means = meanCells(
    names.map((name) => mean(tables.map((table) => table.rows[placeOf(table, name)]?.median ?? null))),
  );
  const rows = names.map((name, index): readonly Cell[] => {
    const known = tables.flatMap((table) => table.rows.filter(({ row }) => row === name));
    return [
      textCell(name),
      numberCell(known.find(({ trainable }) => trainable !== null)?.trainable, grouped),
      activatedCell(known.find(({ activated }) => activated !== null)?.activated ?? null),
      ...medians.map(({ table, cells }) => cells[placeOf(table, name)] ?? textCell(null)),
      means[index] ?? textCell(null),
    ];
  });
  return {
    title: "All tasks (median accuracy)",
    columns: [
      textColumn("method"),
      numberColumn("trainable"),
      activatedColumn,
      ...tables.map((table) => numberColumn(columnTitle(table))),
      numberColumn("mean"),
    ],
    rows,
    before: [],
    notes: ["Mean: of methods with a result on every task; it has no spread of its own."],
    context: {},
  };
};
