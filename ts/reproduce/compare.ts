import { median } from "../util/statistics.js";
import type { SweepRow, SweepTable } from "../report/sweep-table.js";
import type { PaperTable } from "./paper-figures.js";
import type { MeanColumn } from "./targets.js";

/** One of our figures beside the paper's; accuracies are percentages, as the paper prints them. */
export interface ComparedRow {
  readonly row: string;
  /** Median over the seeds; null without a result. */
  readonly ours: number | null;
  /** Lowest and highest over the seeds; of one seed the 95 % interval of its test rows. */
  readonly range: readonly [number, number] | null;
  readonly seeds: number;
  /** The untuned model's. */
  readonly before: number | null;
  /** What the paper prints, by the backbone where there are several; null where it prints nothing. */
  readonly paper: number | null;
  readonly trainable: number | null;
  /** As printed: parameters that train. */
  readonly paperTrainable: string | null;
}

/** Our figures beside the paper's, of one column of its table. */
export interface ComparedTable {
  readonly column: string;
  readonly group: string | null;
  readonly measure: "accuracy" | "dev perplexity" | "score of 10" | "speed";
  /** Where the paper's figures stand; null where it has no such column. */
  readonly source: string | null;
  /** How ours were scored. */
  readonly protocols: readonly string[];
  readonly rows: readonly ComparedRow[];
}

const paperValue = (paper: PaperTable | undefined, row: string, column: string): number | null =>
  paper?.rows[row]?.[paper.columns.indexOf(column)] ?? null;

const scaled = (value: number | null, measure: ComparedTable["measure"]): number | null =>
  value === null ? null : measure === "accuracy" ? 100 * value : value;

const comparedRow = (
  row: SweepRow,
  measure: ComparedTable["measure"],
  paper: PaperTable | undefined,
  column: string,
) => {
  const range = row.range;
  return {
    row: row.row,
    ours: scaled(row.median, measure),
    range: range === null ? null : ([scaled(range[0], measure) ?? 0, scaled(range[1], measure) ?? 0] as const),
    seeds: row.after.length,
    before: scaled(row.before, measure),
    paper: paperValue(paper, row.row, column),
    trainable: row.trainable,
    paperTrainable: paper?.parameters?.[row.row]?.[0] ?? null,
  };
};

const comparedTable = (table: SweepTable, paper: PaperTable | undefined): ComparedTable => {
  const column = table.task ?? table.group;
  // A mix of tasks stands in the paper as a mean alone: its single columns are those of single tasks.
  const own = paper !== undefined && paper.columns.includes(column) ? paper : undefined;
  return {
    column,
    group: table.group,
    measure: table.measure,
    source: own?.source ?? null,
    protocols: table.protocols,
    rows: table.rows.map((row) => comparedRow(row, table.measure, own, column)),
  };
};

/** Each seed's mean over the tables; only seeds that every table has. */
const seedMeans = (rows: readonly (SweepRow | undefined)[]): readonly number[] => {
  const [first] = rows;
  if (first === undefined) return [];
  return first.after.flatMap(({ seed }) => {
    const values = rows.flatMap((row) => row?.after.find((entry) => entry.seed === seed)?.value ?? []);
    return values.length === rows.length ? [values.reduce((sum, value) => sum + value, 0) / rows.length] : [];
  });
};

const meanTable = (
  tables: readonly SweepTable[],
  { column, groups }: MeanColumn,
  paper: PaperTable | undefined,
): ComparedTable => {
  const parts = tables.filter(({ group, task }) => task !== null && groups.includes(group));
  const names = [...new Set(parts.flatMap(({ rows }) => rows.map(({ row }) => row)))];
  const rows = names.map((name): ComparedRow => {
    const own = parts.map((table) => table.rows.find(({ row }) => row === name));
    const values = seedMeans(own).map((value) => 100 * value);
    return {
      row: name,
      ours: values.length === 0 ? null : median(values),
      range: values.length < 2 ? null : [Math.min(...values), Math.max(...values)],
      seeds: values.length,
      before: null,
      paper: paperValue(paper, name, column),
      trainable: own[0]?.trainable ?? null,
      paperTrainable: paper?.parameters?.[name]?.[0] ?? null,
    };
  });
  return { column, group: null, measure: "accuracy", source: paper?.source ?? null, protocols: [], rows };
};

/**
 * Our figures beside the paper's: a table for each of ours, then the means. Where the paper has several backbones there
 * is one for each of them.
 */
export const comparedTables = (
  tables: readonly SweepTable[],
  { papers, means }: { readonly papers: readonly PaperTable[]; readonly means: readonly MeanColumn[] },
): readonly ComparedTable[] => {
  const columns = [...tables.map(({ task, group }) => task ?? group), ...means.map(({ column }) => column)];
  const fitting = papers.filter((paper) => paper.columns.some((column) => columns.includes(column)));
  const sources = fitting.length === 0 ? [undefined] : fitting;
  return sources.flatMap((paper) => [
    ...tables.map((table) => comparedTable(table, paper)),
    ...means.map((mean) => meanTable(tables, mean, paper)),
  ]);
};
