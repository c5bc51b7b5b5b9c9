import { figureSvg } from "../report/figures/figure-svg.js";
import { figureConfig, themes } from "../report/figures/theme.js";
import type { ReportFigure } from "../report/report-model.js";

/** A figure in every form that a notebook or a terminal can show. */
export interface Figure {
  /** A Vega-Lite specification with its data in it, for front ends of version 5 and later. */
  readonly vegaLite: Readonly<Record<string, unknown>>;
  /** The same as SVG, drawn when it is asked for. */
  readonly svg: string;
  /** The figure in characters, for a terminal. */
  readonly text: string;
}

/** On a page of its own colour: a notebook's theme is not known where a figure is made. */
const config = { ...figureConfig(themes.light), background: themes.light.page };

/** Longer titles are cut, in pixels. */
const titleLimit = 800;

/**
 * A report's figure for a notebook. `figure` is undefined where there is nothing to draw yet: a title alone.
 * `layout`: what differs from a page's, such as a width.
 */
export const notebookFigure = (options: {
  readonly title: string;
  readonly figure: ReportFigure | undefined;
  readonly layout?: Readonly<Record<string, unknown>>;
  readonly text: string;
}): Figure => {
  const { title, figure, layout, text } = options;
  const spec = {
    title: { text: title, anchor: "start", fontWeight: "normal", color: themes.light.text, limit: titleLimit },
    ...(figure?.spec ?? { mark: "point" }),
    ...layout,
  };
  const data = figure?.data ?? [];
  return {
    vegaLite: { $schema: "https://vega.github.io/schema/vega-lite/v5.json", ...spec, data: { values: data }, config },
    get svg() {
      return figureSvg({ title, caption: "", spec, data });
    },
    text,
  };
};
