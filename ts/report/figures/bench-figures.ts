import type { Datum, ReportFigure } from "../report-model.js";
import { groupedBars } from "./grouped-bars.js";
import { colourBy, dashBy, quantity, shapeBy, size, tip } from "./series.js";

const rateTitle = "tokens a second";

const valuesOf = (rows: readonly Datum[], field: string): readonly string[] =>
  rows.map((row) => String(row[field] ?? "-"));

/** Bars of rates, a group of bars a method, one for each `setting`. */
export const rateBars = (options: {
  readonly title: string;
  readonly caption: string;
  /** With `method`, `setting` and `tokensPerSecond`. */
  readonly rows: readonly Datum[];
}): ReportFigure =>
  groupedBars({
    ...options,
    x: "method",
    series: "setting",
    y: { field: "tokensPerSecond", title: rateTitle, scale: { zero: true } },
    tooltip: [
      tip("method", "method"),
      tip("setting", "setting"),
      tip("tokensPerSecond", rateTitle, ",.1f"),
      tip("ratio", "ratio to the peer", ".2f"),
    ],
  });

/** Rate over the number of tenants, a line an engine. */
export const tenantsFigure = (title: string, rows: readonly Datum[]): ReportFigure => {
  const settings = valuesOf(rows, "setting");
  const tenants = [...new Set(rows.map((row) => row["tenants"]))];
  return {
    title,
    caption:
      "All rows of a batch together; each tenant has an adapter of its own. Rows of a setting were measured by turns.",
    data: rows,
    spec: {
      ...size,
      encoding: {
        x: quantity("tenants", "tenants in a batch", {
          scale: { type: "log", base: 2, nice: false },
          axis: { values: tenants, format: "~g" },
        }),
        y: quantity("tokensPerSecond", rateTitle, { scale: { zero: true } }),
        color: colourBy("setting", settings),
        tooltip: [
          tip("setting", "setting"),
          tip("tenants", "tenants"),
          tip("rowsPerTenant", "rows of a tenant"),
          tip("tokensPerSecond", rateTitle, ",.1f"),
          tip("ratio", "ratio to the base", ".2f"),
        ],
      },
      layer: [
        { mark: { type: "line" }, encoding: { strokeDash: dashBy("setting", settings) } },
        { mark: { type: "point", filled: true, size: 70 }, encoding: { shape: shapeBy("setting", settings) } },
      ],
    },
  };
};
