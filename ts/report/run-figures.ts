import type { Curve } from "./figures/curve-figure.js";
import { curveFigure } from "./figures/curve-figure.js";
import { heatMapFigure } from "./figures/heat-map-figure.js";
import type { ReportFigure } from "./report-model.js";
import type { RunInput } from "./sources/inputs.js";

/** A run and the series it belongs to: runs that differ in their seed alone are one. */
export interface SeriesRun {
  readonly series: string;
  readonly run: RunInput;
}

const present = (figures: readonly (ReportFigure | undefined)[]): readonly ReportFigure[] =>
  figures.filter((figure) => figure !== undefined);

const shareFigure = (of: string, runs: readonly SeriesRun[]): ReportFigure | undefined =>
  heatMapFigure({
    title: `Experts by task${of}`,
    caption:
      "Share of each expert as the most probable one, over layers and dev prompts, at a run's last evaluation. With " +
      "seven experts an even share is 14 %; what layers choose for a task's prompts is shown of runs that milora routing was asked of.",
    rowTitle: "run",
    valueTitle: "share",
    isShare: true,
    cells: runs.flatMap(({ run }) =>
      Object.entries(run.curves.expertShare ?? {}).map(([column, value]) => ({
        panel: run.task ?? "task not known",
        row: run.name,
        column,
        value,
      })),
    ),
  });

/** Loss, dev perplexity and expert shares of runs; what no run has is not drawn. `of`: ends the titles. */
export const runFigures = (of: string, runs: readonly SeriesRun[]): readonly ReportFigure[] => {
  const curves = (points: (run: RunInput) => Curve["points"]): readonly Curve[] =>
    runs.map(({ series, run }) => ({ series, run: run.name, points: points(run) }));
  return present([
    curveFigure({
      title: `Training loss${of}`,
      caption: "Mean cross entropy of an answer token. Long runs are shown as means of neighbouring steps.",
      yTitle: "loss (nats a token)",
      curves: curves((run) => run.curves.losses.map(({ step, loss }) => ({ step, value: loss }))),
    }),
    curveFigure({
      title: `Dev perplexity${of}`,
      caption: "Over the whole dev set, at each evaluation; lower is better.",
      yTitle: "dev perplexity",
      exact: true,
      curves: curves((run) => run.curves.evaluations.map(({ step, perplexity }) => ({ step, value: perplexity }))),
    }),
    shareFigure(of, runs),
  ]);
};
