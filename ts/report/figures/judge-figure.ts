import type { Datum, ReportFigure } from "../report-model.js";
import { colourBy, distinct, quantity, size, tip } from "./series.js";

/** Bars of a judge's mean scores, a group of bars a category, one for each method. */
export const scoreBars = (options: {
  readonly title: string;
  readonly caption: string;
  /** With `method`, `category`, `score` and `scored`. */
  readonly rows: readonly Datum[];
}): ReportFigure => {
  const { title, caption, rows } = options;
  const methods = distinct(rows.map((row) => String(row["method"])));
  return {
    title,
    caption,
    data: rows,
    spec: {
      ...size,
      mark: { type: "bar" },
      encoding: {
        x: { field: "category", type: "nominal", title: "category", sort: null, axis: { labelAngle: -30 } },
        xOffset: { field: "method", sort: null },
        y: quantity("score", "mean score of 10", { scale: { domain: [0, 10] } }),
        color: colourBy("method", methods),
        tooltip: [
          tip("method", "method"),
          tip("category", "category"),
          tip("score", "mean score", ".2f"),
          tip("scored", "answers with a score"),
        ],
      },
    },
  };
};
