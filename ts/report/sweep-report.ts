import { join } from "node:path";
import type { SweepJobRecord, SweepRecord } from "../runs/sweep-record.js";
import { writeFileAtomic } from "../util/files.js";
import { counted, oneLine } from "../util/text.js";
import type { JobResults } from "./sweep-paired.js";
import { marksGuide } from "./cells.js";
import { csvCell } from "./csv.js";
import { tableMarkdown } from "./markdown.js";
import { pairedCsvColumns, pairedCsvValues, pairedGuide, pairedTable } from "./sweep-paired-text.js";
import { sweepResultTable, sweepTableTitle } from "./sweep-result-table.js";
import { plannedJobs, type SweepRow, type SweepTable, sweepTables } from "./sweep-table.js";

const tableLines = (table: SweepTable): readonly string[] => {
  const paired = pairedTable(table);
  return [
    `## ${sweepTableTitle(table)}`,
    "",
    ...tableMarkdown(sweepResultTable(table)),
    ...(paired === undefined ? [] : [`### ${paired.title}`, "", ...tableMarkdown(paired)]),
  ];
};

const distinctTexts = (texts: readonly string[]): string => [...new Set(texts)].join("; ") || "unknown";

const machineText = ({ machine }: SweepJobRecord): readonly string[] =>
  machine === null
    ? []
    : [`${counted(machine.cores, "core")} of ${machine.processor}, ${machine.platform}, Node ${machine.node}`];

/** What the runs of a sweep were made with: model, machine, versions, date. */
export const sweepConditions = (record: SweepRecord): readonly string[] => {
  const jobs = plannedJobs(record);
  const trains = jobs.flatMap(({ train }) => (train === null ? [] : [train]));
  const versions = trains.map(({ versions }) =>
    Object.entries(versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(", "),
  );
  const date = jobs
    .flatMap(({ finished }) => finished ?? [])
    .toSorted()
    .at(-1);
  return [
    `model: ${record.model}`,
    `machine: ${distinctTexts(jobs.flatMap(machineText))}`,
    `device and dtype: ${distinctTexts(trains.map(({ device, dtype }) => `${device}, ${dtype}`))}`,
    `versions: ${distinctTexts(versions)}`,
    `last result: ${date?.slice(0, 10) ?? "none yet"}`,
  ];
};

/** A line for each run that has no result. */
export const openRuns = (record: SweepRecord): readonly string[] =>
  plannedJobs(record)
    .filter(({ state }) => state !== "finished")
    .map(({ name, state, error }) => `${name}: ${state}${error === null ? "" : `: ${oneLine(error)}`}`);

/** How to read the tables of a sweep. */
export const readingGuide =
  "Spread: the lowest and the highest of the seeds. Results differ where their ranges do not touch: the spreads of " +
  "two seeds or more, the 95 % interval of the test rows (Wilson) of one seed; and, where the answers are known, " +
  "only where the test on the same rows says so too. Activated: adapter parameters that one prompt uses, without routers. Rates are medians over the seeds, measured beside whatever else the machine did.";

const listed = (lines: readonly string[]): readonly string[] => lines.map((line) => `- ${line}`);

/** `tables`: those of the record, as {@link sweepTables} makes them. */
export const sweepMarkdown = (record: SweepRecord, tables: readonly SweepTable[]): string => {
  const open = openRuns(record);
  return [
    `# ${record.name}`,
    "",
    ...(record.description === null ? [] : [record.description, ""]),
    ...listed(sweepConditions(record)),
    "",
    ...tables.flatMap(tableLines),
    ...(open.length === 0 ? [] : ["## Without a result", "", ...listed(open), ""]),
    readingGuide,
    "",
    marksGuide,
    ...pairedGuide(tables).flatMap((text) => ["", text]),
    "",
  ].join("\n");
};

const csvValues = (table: SweepTable, row: SweepRow): readonly (string | number | null)[] => [
  table.group,
  table.task,
  table.measure,
  row.row,
  row.trainable,
  row.activated?.min ?? null,
  row.activated?.mean ?? null,
  row.activated?.max ?? null,
  row.before,
  row.after.map(({ seed, value }) => `${seed}=${value}`).join(" "),
  row.median,
  row.spread?.[0] ?? null,
  row.spread?.[1] ?? null,
  row.againstBefore,
  row.againstBest,
  row.trainTokensPerSecond,
  row.decodeTokensPerSecond,
  table.chance,
  table.majority,
  ...pairedCsvValues(row),
];

/** One line a row of the tables; the seeds' results in one cell, `0=0.44 1=0.45`. */
export const sweepCsv = (tables: readonly SweepTable[]): string => {
  const head =
    "group,task,measure,method,trainable,activated_min,activated_mean,activated_max,before,after,median,lowest," +
    "highest,against_before,against_best,train_tokens_per_second,decode_tokens_per_second,chance,majority," +
    pairedCsvColumns.join(",");
  const lines = tables.flatMap((table) => table.rows.map((row) => csvValues(table, row).map(csvCell).join(",")));
  return `${[head, ...lines].join("\n")}\n`;
};

/**
 * Writes `results.md`, `results.csv` and `results.json` of a sweep, from its record and what its runs answered row by
 * row; returns the Markdown file.
 */
export const writeSweepReport = async (
  out: string,
  record: SweepRecord,
  results: JobResults = new Map(),
): Promise<string> => {
  const file = join(out, "results.md");
  const tables = sweepTables(record, results);
  await writeFileAtomic(file, sweepMarkdown(record, tables));
  await writeFileAtomic(join(out, "results.csv"), sweepCsv(tables));
  const { name, description, model } = record;
  const value = { name, description, model, tables };
  await writeFileAtomic(join(out, "results.json"), `${JSON.stringify(value, undefined, 2)}\n`);
  return file;
};
