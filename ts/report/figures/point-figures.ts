import type { Datum, ReportFigure } from "../report-model.js";
import { colourBy, dashBy, legendPick, paleUnlessPicked, quantity, shapeBy, size, tip } from "./series.js";

/** A method's median accuracy and the range that decides comparisons, shares. */
export interface AccuracyPoint {
  readonly method: string;
  readonly median: number;
  readonly lowest: number;
  readonly highest: number;
}

const percentAxis = { axis: { format: "~%" }, scale: { zero: false } };

const rangeText = "from the lowest to the highest seed, or the 95 % interval of a single seed's rows";

const rangeTips = [
  tip("median", "median accuracy", ".1%"),
  tip("lowest", "range from", ".1%"),
  tip("highest", "range to", ".1%"),
];

/** Accuracy against the adapter parameters that a prompt activates, with their ranges. */
export const accuracyFigure = (
  title: string,
  points: readonly (AccuracyPoint & { readonly activated: number })[],
): ReportFigure | undefined => {
  if (points.length < 2) return undefined;
  const methods = points.map(({ method }) => method);
  const encoding = {
    x: quantity("activated", "activated adapter parameters", {
      scale: { zero: false },
      axis: { format: "~s", tickCount: 8 },
    }),
    color: colourBy("method", methods),
    opacity: paleUnlessPicked,
    tooltip: [tip("method", "method"), tip("activated", "activated parameters", ","), ...rangeTips],
  };
  const y = quantity("median", "accuracy (median of the seeds)", percentAxis);
  return {
    title,
    caption: `A point's line is its range: ${rangeText}. Where two lines overlap, no difference is shown.`,
    data: points.map((point): Datum => ({ ...point })),
    spec: {
      ...size,
      encoding,
      layer: [
        { mark: { type: "rule" }, encoding: { y: { ...y, field: "lowest" }, y2: { field: "highest" } } },
        {
          params: [legendPick("method")],
          mark: { type: "point", filled: true, size: 90 },
          encoding: { y, shape: shapeBy("method", methods) },
        },
      ],
    },
  };
};

/** Median accuracy over the values of one setting, such as the rank, a line a method. */
export const axisFigure = (options: {
  readonly title: string;
  readonly xTitle: string;
  readonly isLogarithmic: boolean;
  readonly points: readonly (AccuracyPoint & { readonly value: number })[];
}): ReportFigure => {
  const { title, xTitle, isLogarithmic, points } = options;
  const methods = points.map(({ method }) => method);
  const values = [...new Set(points.map(({ value }) => value))].toSorted((left, right) => left - right);
  const type = isLogarithmic && values.every((value) => value > 0) ? "log" : "linear";
  const colour = colourBy("method", methods);
  // The legend would else be as pale as the band.
  const color = { ...colour, legend: { ...colour.legend, symbolOpacity: 1 } };
  const y = quantity("median", "accuracy (median of the seeds)", percentAxis);
  return {
    title,
    caption: `The band is the range: ${rangeText}. Values whose bands overlap are not shown to differ.`,
    data: points.map((point): Datum => ({ ...point })),
    spec: {
      ...size,
      encoding: {
        x: quantity("value", xTitle, {
          scale: { type, nice: false, ...(type === "log" ? {} : { zero: false }) },
          axis: { values, format: "~g" },
        }),
        color,
        tooltip: [tip("method", "method"), tip("value", xTitle, "~g"), ...rangeTips],
      },
      layer: [
        {
          mark: { type: "area", opacity: 0.15 },
          encoding: { y: { ...y, field: "lowest" }, y2: { field: "highest" } },
        },
        { mark: { type: "line" }, encoding: { y, strokeDash: dashBy("method", methods) } },
        {
          mark: { type: "point", filled: true, size: 70 },
          encoding: { y, shape: shapeBy("method", methods) },
        },
      ],
    },
  };
};
