import {
  cellOf,
  grouped,
  marksOf,
  none,
  numberCell,
  numberColumn,
  percent,
  rate,
  textCell,
  textColumn,
} from "./cells.js";
import type { Cell, ReportTable } from "./report-model.js";
import type { SweepRow, SweepTable } from "./sweep-table.js";

/** A result in the table's measure. */
export const resultText = ({ measure }: Pick<SweepTable, "measure">, value: number): string =>
  measure === "accuracy" ? percent(value) : value.toFixed(4);

export const sweepTableTitle = ({ group, task, measure }: SweepTable): string =>
  `${group}${task === null || task === group ? "" : `: ${task}`} (${measure})`;

/** What adapter modules a prompt activates: one number where it is always the same, else lowest / mean / highest. */
export const activatedCell = (activated: SweepRow["activated"]): Cell => {
  if (activated === null) return cellOf(none, [null, null, null]);
  const { min, mean, max } = activated;
  const text = min === max ? grouped(mean) : [min, mean, max].map(grouped).join(" / ");
  return cellOf(text, [min, mean, max]);
};

export const activatedColumn = numberColumn("activated (min / mean / max)", [
  "activated_min",
  "activated_mean",
  "activated_max",
]);

const seedsCell = (table: SweepTable, { after, missing }: SweepRow): Cell => {
  const shown = after.map(({ seed, value }) => `${seed}: ${resultText(table, value)}`);
  const parts = missing === 0 ? shown : [...shown, `${missing} missing`];
  return cellOf(parts.join(", "), [after.map(({ seed, value }) => `${seed}=${value}`).join(" "), missing]);
};

const spreadCell = (table: SweepTable, { spread, after }: SweepRow): Cell => {
  if (spread === null) return cellOf(none, [null, null]);
  const text = after.length < 2 ? "one seed" : spread.map((value) => resultText(table, value)).join(" to ");
  return cellOf(text, spread);
};

/** The cells of a column of medians, marked; those inside the best one's spread are called so. */
export const markedMedians = (table: SweepTable): readonly Cell[] => {
  const medians = table.rows.map((row) => row.median);
  const marks = marksOf(medians, table.measure === "accuracy");
  return table.rows.map(({ median, againstBest }, index) => ({
    ...numberCell(median, (value) => resultText(table, value)),
    mark: marks[index],
    inside: median !== null && againstBest === "inside the spread",
  }));
};

/** What the table says of the best row; a difference inside the spread is told as one. */
export const verdict = ({ rows }: SweepTable): string => {
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

const columns = [
  textColumn("method"),
  numberColumn("trainable"),
  activatedColumn,
  numberColumn("before"),
  { ...textColumn("after, by seed"), csv: ["after", "missing"] },
  numberColumn("median"),
  { ...textColumn("spread"), csv: ["lowest", "highest"] },
  textColumn("against before"),
  numberColumn("training, tokens/s", "train_tokens_per_second"),
  numberColumn("decoding, new tokens/s", "decode_tokens_per_second"),
];

const rowCells = (table: SweepTable, row: SweepRow, median: Cell): readonly Cell[] => [
  textCell(row.row),
  numberCell(row.trainable, grouped),
  activatedCell(row.activated),
  numberCell(row.before, (value) => resultText(table, value)),
  seedsCell(table, row),
  median,
  spreadCell(table, row),
  textCell(row.before === null ? null : row.againstBefore),
  numberCell(row.trainTokensPerSecond, rate),
  numberCell(row.decodeTokensPerSecond, rate),
];

/** A sweep's table of one group and task: a row a method, with its seeds, median and spread. */
export const sweepResultTable = (table: SweepTable): ReportTable => {
  const { group, task, measure, chance, majority, protocols, rows } = table;
  const levels =
    chance === null || majority === null
      ? []
      : [`Chance ${percent(chance)}, always the most frequent answer ${percent(majority)}.`];
  const medians = markedMedians(table);
  return {
    title: sweepTableTitle(table),
    columns,
    rows: rows.map((row, index) => rowCells(table, row, medians[index] ?? textCell(null))),
    before: [...protocols.map((protocol) => `Scored: ${protocol}.`), ...levels],
    notes: [verdict(table)].filter((text) => text !== ""),
    context: { group, task, measure, chance, majority },
  };
};
