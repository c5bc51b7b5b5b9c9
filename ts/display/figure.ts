import { escapeMarkup } from "../util/text.js";

/** A figure in every form that a notebook or a terminal can show. */
export interface Figure {
  /** A Vega-Lite 5 specification with its data in it. */
  readonly vegaLite: Readonly<Record<string, unknown>>;
  /** The figure as an SVG element. */
  readonly svg: string;
  /** The figure in characters, for a terminal. */
  readonly text: string;
}

/** Colours that stay apart for the colour-blind (Okabe and Ito). */
export const palette = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00"] as const;

export const colourOf = (index: number): string => palette[index % palette.length] ?? palette[0];

/** Four significant digits; whole numbers as they are. */
export const shortNumber = (value: number): string =>
  Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(4)));

/** An SVG of this size with a title. Grey text is readable on white and on black. */
export const svgFrame = (options: {
  readonly width: number;
  readonly height: number;
  readonly title: string;
  readonly body: readonly string[];
}): string => {
  const { width, height, title, body } = options;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="sans-serif" font-size="12" fill="#808080">`,
    `<text x="8" y="16" font-size="13">${escapeMarkup(title)}</text>`,
    ...body,
    "</svg>",
  ].join("\n");
};

/** The start of a Vega-Lite specification. JupyterLab, VS Code and Colab show version 5. */
export const vegaLiteFrame = (title: string, values: readonly object[]): Readonly<Record<string, unknown>> => ({
  $schema: "https://vega.github.io/schema/vega-lite/v5.json",
  title,
  data: { values },
});
