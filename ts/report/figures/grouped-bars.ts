import type { Datum, ReportFigure } from "../report-model.js";
import { colourBy, quantity, size, type tip } from "./series.js";

/** Bars of a value, a group of bars for each `x`, in it one for each `series`, all in the order in which they come. */
export const groupedBars = (options: {
  readonly title: string;
  readonly caption: string;
  readonly rows: readonly Datum[];
  /** Fields of the rows. */
  readonly x: string;
  readonly series: string;
  readonly y: { readonly field: string; readonly title: string; readonly scale: object };
  readonly tooltip: readonly ReturnType<typeof tip>[];
}): ReportFigure => {
  const { title, caption, rows, x, series, y, tooltip } = options;
  return {
    title,
    caption,
    data: rows,
    spec: {
      ...size,
      mark: { type: "bar" },
      encoding: {
        x: { field: x, type: "nominal", title: x, sort: null, axis: { labelAngle: -30 } },
        xOffset: { field: series, sort: null },
        y: quantity(y.field, y.title, { scale: y.scale }),
        color: colourBy(
          series,
          rows.map((row) => String(row[series] ?? "-")),
        ),
        tooltip,
      },
    },
  };
};
