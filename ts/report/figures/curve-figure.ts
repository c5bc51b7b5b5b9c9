import type { ReportFigure } from "../report-model.js";
import {
  colourBy,
  dashBy,
  hoverLayer,
  legendPick,
  paleUnlessPicked,
  quantity,
  short,
  size,
  tip,
  wideScale,
} from "./series.js";

/** One run's curve; runs of a series share colour and dash. */
export interface Curve {
  readonly series: string;
  readonly run: string;
  readonly points: readonly { readonly step: number; readonly value: number }[];
}

/** All curves of a figure together have at most so many points, and each at least a few. */
const usualPoints = 6000;
const minPointsOfRun = 20;

/** Means of neighbouring points, so that noise shrinks and nothing is left out; the step is that of the last one. */
const thinned = (points: Curve["points"], count: number): Curve["points"] => {
  const stride = Math.ceil(points.length / count);
  if (stride <= 1) return points;
  return Array.from({ length: Math.ceil(points.length / stride) }, (_, index) => {
    const part = points.slice(index * stride, (index + 1) * stride);
    const value = part.reduce((total, point) => total + point.value, 0) / part.length;
    return { step: part.at(-1)?.step ?? 0, value };
  });
};

/**
 * Curves over training steps. `exact`: every point is drawn as it is; otherwise long curves are thinned to means of
 * neighbouring steps.
 */
export const curveFigure = (options: {
  readonly title: string;
  readonly caption: string;
  /** Name and unit of the values. */
  readonly yTitle: string;
  readonly curves: readonly Curve[];
  readonly exact?: boolean;
  readonly maxPoints?: number;
}): ReportFigure | undefined => {
  const { title, caption, yTitle, exact = false, maxPoints = usualPoints } = options;
  const curves = options.curves.filter(({ points }) => points.length > 0);
  if (curves.length === 0) return undefined;
  const count = exact ? Number.POSITIVE_INFINITY : Math.max(minPointsOfRun, Math.floor(maxPoints / curves.length));
  const data = curves.flatMap(({ series, run, points }) =>
    thinned(points, count).map(({ step, value }) => ({ series, run, step, value: short(value) })),
  );
  const isDense = data.length > 400;
  const series = curves.map((curve) => curve.series);
  return {
    title,
    caption,
    data,
    spec: {
      ...size,
      encoding: {
        x: quantity("step", "step (updates)", { scale: { nice: false }, axis: { format: ",d", tickMinStep: 1 } }),
        y: quantity("value", yTitle, { scale: wideScale(data.map(({ value }) => value)) }),
        color: colourBy("series", series, "stroke"),
        detail: { field: "run" },
        opacity: paleUnlessPicked,
        tooltip: [tip("run", "run"), tip("step", "step"), tip("value", yTitle, ".4~g")],
      },
      layer: [
        {
          params: [legendPick("series")],
          mark: { type: "line", strokeWidth: 1.5 },
          encoding: { strokeDash: dashBy("series", series) },
        },
        {
          ...(isDense ? { name: hoverLayer } : {}),
          mark: { type: "point", filled: true, strokeWidth: 0, size: isDense ? 9 : 30 },
        },
      ],
    },
  };
};
