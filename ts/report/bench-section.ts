import { counted } from "../util/text.js";
import { grouped, numberCell, numberColumn, rate, textCell, textColumn } from "./cells.js";
import { rateBars, tenantsFigure } from "./figures/bench-figures.js";
import type { Cell, Column, Datum, ReportFigure, ReportSection } from "./report-model.js";
import type { BenchInput } from "./sources/inputs.js";

const numberOf = (row: Datum, field: string): number | null => {
  const value = row[field];
  return typeof value === "number" ? value : null;
};

const nameOf = (row: Datum): string =>
  typeof row["topK"] === "number" ? `${row["method"]} (k = ${row["topK"]})` : String(row["method"]);

interface BenchColumn {
  readonly column: Column;
  readonly cell: (row: Datum) => Cell;
}

const text = (title: string, value: (row: Datum) => string): BenchColumn => ({
  column: textColumn(title),
  cell: (row) => textCell(value(row)),
});

const number = (column: Column, field: string, show: (value: number) => string): BenchColumn => ({
  column,
  cell: (row) => numberCell(numberOf(row, field), show),
});

const times = (value: number): string => value.toFixed(2);
const mebibytes = (value: number): string => grouped(Math.round(value / 2 ** 20));
const method = text("method", nameOf);
const engine = text("engine", (row) => String(row["engine"]));
const speed = number(numberColumn("tokens/s", "tokens_per_second"), "tokensPerSecond", rate);
const toBase = number(numberColumn("to the base", "ratio_to_base"), "ratioToBase", times);
const peak = number(numberColumn("peak, MiB", "peak_bytes"), "peakBytes", mebibytes);
const whole = (title: string, field: string): BenchColumn => number(numberColumn(title), field, grouped);

const columns: Readonly<Record<BenchInput["kind"], readonly BenchColumn[]>> = {
  decode: [method, engine, whole("beams", "beams"), speed, toBase, peak],
  tenants: [method, engine, whole("tenants", "tenants"), whole("rows of a tenant", "rowsPerTenant"), speed, toBase],
  train: [
    method,
    engine,
    text("attention", (row) => String(row["attention"])),
    whole("tokens of a row", "tokensPerRow"),
    speed,
    number(numberColumn("to the peer", "ratio_to_peer"), "ratioToPeer", times),
    peak,
  ],
  bridge: [
    text("what", (row) => String(row["what"])),
    number(numberColumn("µs", "microseconds"), "microseconds", (value) => grouped(Math.round(value))),
    number(numberColumn("ratio"), "ratio", times),
  ],
};

const titles = { decode: "Decoding", tenants: "Many tenants", train: "Training", bridge: "Bridge" } as const;

const engineNames: Readonly<Record<string, string>> = {
  hf: "transformers",
  peft: "PEFT",
  "hf-trainer": "transformers' Trainer",
};

/** The rows as a figure needs them: what sets a bar or a line apart, its rate and its ratio. */
const drawn = (rows: readonly Datum[], setting: (row: Datum) => string, ratio: string): readonly Datum[] =>
  rows.map((row) => ({
    ...row,
    method: nameOf(row),
    setting: `${engineNames[String(row["engine"])] ?? String(row["engine"])}, ${setting(row)}`,
    ratio: row[ratio] ?? null,
  }));

const figureOf = ({ kind, name, rows }: BenchInput): readonly ReportFigure[] => {
  const turns = "Rows were measured by turns on one machine, named above; medians.";
  switch (kind) {
    case "decode": {
      const beams = (row: Datum): string => counted(numberOf(row, "beams") ?? 1, "beam");
      const caption = `New tokens of one prompt a second. ${turns}`;
      return [rateBars({ title: `Decoding speed, ${name}`, caption, rows: drawn(rows, beams, "ratioToBase") })];
    }
    case "tenants":
      return [tenantsFigure(`Speed over tenants, ${name}`, drawn(rows, nameOf, "ratioToBase"))];
    case "train": {
      const length = (row: Datum): string =>
        `rows of ${String(row["tokensPerRow"])} tokens, ${String(row["attention"])}`;
      const caption = `Tokens of training a second. ${turns}`;
      return [rateBars({ title: `Training speed, ${name}`, caption, rows: drawn(rows, length, "ratioToPeer") })];
    }
    case "bridge":
      return [];
  }
};

/** What `bench … --json` measured: a table and a figure a file. */
export const benchSection = (benches: readonly BenchInput[]): ReportSection => ({
  title: "Speed and memory",
  text: [],
  tables: benches.map(({ kind, name, rows, machine }) => ({
    title: `${titles[kind]}, ${name}`,
    columns: columns[kind].map(({ column }) => column),
    rows: rows.map((row) => columns[kind].map(({ cell }) => cell(row))),
    before: [`Machine: ${machine}.`],
    notes: [],
    context: { machine },
  })),
  figures: benches.flatMap(figureOf),
});
