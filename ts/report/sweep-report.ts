import { join } from "node:path";
import type { SweepJobRecord, SweepRecord } from "../runs/sweep-record.js";
import { writeFileAtomic } from "../util/files.js";
import { counted } from "../util/text.js";
import type { JobResults } from "./sweep-paired.js";
import { pairedCsvColumns, pairedCsvValues, pairedGuide, pairedLines } from "./sweep-paired-text.js";
import { plannedJobs, type SweepRow, type SweepTable, sweepTables } from "./sweep-table.js";

const none = "-";

const figure = (table: SweepTable, value: number): string =>
  table.measure === "accuracy" ? `${(100 * value).toFixed(1)} %` : value.toFixed(4);

const grouped = (value: number): string => value.toLocaleString("en");

const rate = (value: number | null): string =>
  value === null ? none : value < 10 ? value.toFixed(1) : grouped(Math.round(value));

const activatedText = ({ activated }: SweepRow): string => {
  if (activated === null) return none;
  const { min, mean, max } = activated;
  return min === max ? grouped(mean) : [min, mean, max].map(grouped).join(" / ");
};

const escaped = (text: string): string => text.replaceAll("|", String.raw`\|`);

const line = (cells: readonly string[]): string => `| ${cells.map(escaped).join(" | ")} |`;

const rowLine = (table: SweepTable, row: SweepRow): string => {
  const { before, after, median, spread, missing } = row;
  const value = (of: number | null): string => (of === null ? none : figure(table, of));
  const seeds = after.map(({ seed, value: of }) => `${seed}: ${figure(table, of)}`).join(", ");
  return line([
    row.row,
    row.trainable === null ? none : grouped(row.trainable),
    activatedText(row),
    value(before),
    missing === 0 ? seeds : `${seeds === "" ? "" : `${seeds}, `}${missing} missing`,
    value(median),
    spread === null ? none : after.length < 2 ? "one seed" : spread.map((of) => figure(table, of)).join(" to "),
    before === null ? none : row.againstBefore,
    rate(row.trainTokensPerSecond),
    rate(row.decodeTokensPerSecond),
  ]);
};

/** What the table says of the best row; a difference inside the spread is told as one. */
const verdict = ({ rows }: SweepTable): string => {
  const withResult = rows.filter(({ median }) => median !== null);
  const best = withResult.find(({ againstBest }) => againstBest === null);
  if (best === undefined) return "No run has a result yet.";
  if (withResult.length === 1) return "";
  const named = (comparison: SweepRow["againstBest"]): string =>
    withResult.flatMap(({ row, againstBest }) => (againstBest === comparison ? [row] : [])).join(", ");
  const [inside, unknown] = [named("inside the spread"), named("unknown")];
  const parts = [
    inside === "" ? [] : [`inside the spread, so no difference is shown: ${inside}`],
    unknown === "" ? [] : [`no spread known, so not comparable: ${unknown}`],
  ].flat();
  return parts.length === 0
    ? `Best: ${best.row}, apart from all others.`
    : `Best median: ${best.row}; ${parts.join("; ")}.`;
};

const percent = (value: number): string => `${(100 * value).toFixed(1)} %`;

const tableLines = (table: SweepTable): readonly string[] => {
  const { group, task, measure, chance, majority, protocols, rows } = table;
  const levels =
    chance === null || majority === null
      ? []
      : [`Chance ${percent(chance)}, always the most frequent answer ${percent(majority)}.`, ""];
  return [
    `## ${group}${task === null || task === group ? "" : `: ${task}`} (${measure})`,
    "",
    ...protocols.map((protocol) => `Scored: ${protocol}.`),
    ...(protocols.length > 0 ? [""] : []),
    ...levels,
    line([
      "method",
      "trainable",
      "activated (min / mean / max)",
      "before",
      "after, by seed",
      "median",
      "spread",
      "against before",
      "training, tokens/s",
      "decoding, new tokens/s",
    ]),
    "| --- | ---: | ---: | ---: | --- | ---: | --- | --- | ---: | ---: |",
    ...rows.map((row) => rowLine(table, row)),
    "",
    ...[verdict(table)].filter((text) => text !== "").flatMap((text) => [text, ""]),
    ...pairedLines(table),
  ];
};

const distinctTexts = (texts: readonly string[]): string => [...new Set(texts)].join("; ") || "unknown";

const machineText = ({ machine }: SweepJobRecord): readonly string[] =>
  machine === null
    ? []
    : [`${counted(machine.cores, "core")} of ${machine.processor}, ${machine.platform}, Node ${machine.node}`];

const conditions = (record: SweepRecord, jobs: readonly SweepJobRecord[]): readonly string[] => {
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
    `- model: ${record.model}`,
    `- machine: ${distinctTexts(jobs.flatMap(machineText))}`,
    `- device and dtype: ${distinctTexts(trains.map(({ device, dtype }) => `${device}, ${dtype}`))}`,
    `- versions: ${distinctTexts(versions)}`,
    `- last result: ${date?.slice(0, 10) ?? "none yet"}`,
  ];
};

const openJobs = (jobs: readonly SweepJobRecord[]): readonly string[] => {
  const open = jobs.filter(({ state }) => state !== "finished");
  if (open.length === 0) return [];
  const lines = open.map(({ name, state, error }) => {
    return `- ${name}: ${state}${error === null ? "" : `: ${error.replaceAll(/\s+/g, " ")}`}`;
  });
  return ["## Without a result", "", ...lines, ""];
};

const readingGuide =
  "Spread: the lowest and the highest of the seeds. Results differ where their ranges do not touch: the spreads of " +
  "two seeds or more, the 95 % interval of the test rows (Wilson) of one seed. Activated: adapter parameters that " +
  "one prompt uses, without routers. Rates are medians over the seeds, measured beside whatever else the machine did.";

/** `tables`: those of the record, as {@link sweepTables} makes them. */
export const sweepMarkdown = (record: SweepRecord, tables: readonly SweepTable[]): string => {
  const jobs = plannedJobs(record);
  return [
    `# ${record.name}`,
    "",
    ...(record.description === null ? [] : [record.description, ""]),
    ...conditions(record, jobs),
    "",
    ...tables.flatMap(tableLines),
    ...openJobs(jobs),
    readingGuide,
    ...pairedGuide(tables),
    "",
  ].join("\n");
};

const csvCell = (value: string | number | null): string => {
  const text = value === null ? "" : String(value);
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
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
