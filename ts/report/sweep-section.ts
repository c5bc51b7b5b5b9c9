import { canonicalJson } from "../util/records.js";
import { marksGuide } from "./cells.js";
import { accuracyFigure, axisFigure, type AccuracyPoint } from "./figures/point-figures.js";
import type { ReportFigure, ReportSection, ReportTable } from "./report-model.js";
import { runFigures } from "./run-figures.js";
import type { RunInput, SweepInput } from "./sources/inputs.js";
import { sweepOverview } from "./sweep-overview.js";
import type { JobResults } from "./sweep-paired.js";
import { pairedGuide, pairedTable } from "./sweep-paired-text.js";
import { openRuns, readingGuide, sweepConditions } from "./sweep-report.js";
import { sweepResultTable, sweepTableTitle } from "./sweep-result-table.js";
import { plannedJobs, type SweepRow, type SweepTable, sweepTables } from "./sweep-table.js";

/** An adapter may have been scored again by hand: only what the sweep's own score came from is its result. */
const jobResults = ({ record, runs }: SweepInput): JobResults =>
  new Map(
    plannedJobs(record)
      .filter(({ state }) => state === "finished")
      .map((job) => [
        job.id,
        (runs.get(job.id)?.results ?? []).filter(({ task, protocol, accuracy }) =>
          job.scores?.some(
            (score) => score.task === task && score.protocol === protocol && score.accuracy === accuracy,
          ),
        ),
      ]),
  );

const pointOf = ({ row, median, range }: SweepRow): readonly AccuracyPoint[] =>
  median === null || range === null ? [] : [{ method: row, median, lowest: range[0], highest: range[1] }];

const accuracyOf = (table: SweepTable): ReportFigure | undefined =>
  accuracyFigure(
    `Accuracy against activated parameters, ${sweepTableTitle(table)}`,
    table.rows.flatMap((row) =>
      row.activated === null
        ? []
        : pointOf(row).map((point) => ({ ...point, activated: row.activated?.mean ?? Number.NaN })),
    ),
  );

/** Settings of a method whose values a sweep may compare. */
const axes = [
  { field: "rank", title: "rank r", isLogarithmic: true },
  { field: "topK", title: "active experts k", isLogarithmic: false },
  { field: "balance", title: "balance loss weight λ", isLogarithmic: true },
] as const;

/** The run of each row of a table: the first of its seeds that could be read. */
const runOfRow = ({ record, runs }: SweepInput, { group }: SweepTable, row: SweepRow): RunInput | undefined =>
  plannedJobs(record)
    .filter((job) => job.group === group && job.row === row.row)
    .flatMap(({ id }) => runs.get(id) ?? [])[0];

/** Rows that differ in one setting alone, a line for each method they are of. */
const axisFigures = (input: SweepInput, table: SweepTable): readonly ReportFigure[] =>
  axes.flatMap(({ field, title, isLogarithmic }) => {
    const lines = new Map<string, (AccuracyPoint & { readonly value: number })[]>();
    for (const row of table.rows) {
      const { [field]: value, ...others } = runOfRow(input, table, row)?.method ?? {};
      if (typeof value !== "number") continue;
      const points = pointOf(row).map((point) => ({ ...point, method: String(others["kind"]), value }));
      lines.set(canonicalJson(others), [...(lines.get(canonicalJson(others)) ?? []), ...points]);
    }
    const points = [...lines.values()].filter((line) => new Set(line.map(({ value }) => value)).size > 1).flat();
    if (points.length === 0) return [];
    return [
      axisFigure({
        title: `Accuracy over ${title}, ${sweepTableTitle(table)}`,
        xTitle: title,
        isLogarithmic,
        points: points.toSorted((left, right) => left.value - right.value),
      }),
    ];
  });

const groupFigures = ({ record, runs }: SweepInput, group: string): readonly ReportFigure[] => {
  const read = plannedJobs(record).flatMap((job) => {
    const run = runs.get(job.id);
    return job.group !== group || run === undefined ? [] : [{ series: job.row, run }];
  });
  return runFigures(`, ${group}`, read);
};

const tablesOf = (tables: readonly SweepTable[]): readonly ReportTable[] =>
  [
    sweepOverview(tables),
    ...tables.flatMap((table) => {
      const paired = pairedTable(table);
      const titled = paired && { ...paired, title: `${sweepTableTitle(table)}: ${paired.title.toLowerCase()}` };
      return [sweepResultTable(table), titled];
    }),
  ].filter((table) => table !== undefined);

/** A sweep: its tables as {@link sweepTables} makes them, and the figures of its results and runs. */
export const sweepSection = (input: SweepInput): ReportSection => {
  const { record } = input;
  const tables = sweepTables(record, jobResults(input));
  const open = openRuns(record);
  const figures = tables
    .filter(({ measure }) => measure === "accuracy")
    .flatMap((table) => [accuracyOf(table), ...axisFigures(input, table)])
    .filter((figure) => figure !== undefined);
  const groups = [...new Set(plannedJobs(record).map(({ group }) => group))];
  return {
    title: record.name,
    text: [
      ...(record.description === null ? [] : [record.description]),
      `${sweepConditions(record).join("; ")}.`,
      ...(open.length === 0 ? [] : [`Without a result: ${open.join("; ")}.`]),
      readingGuide,
      marksGuide,
      ...pairedGuide(tables),
    ],
    tables: tablesOf(tables),
    figures: [...figures, ...groups.flatMap((group) => groupFigures(input, group))],
  };
};
