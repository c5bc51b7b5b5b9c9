/** Colours of a page and of the figures on it. */
interface Theme {
  readonly page: string;
  readonly text: string;
  readonly quiet: string;
  readonly line: string;
  readonly raised: string;
  readonly accent: string;
  /** Of series: apart for the colour-blind, each at 3:1 or more on the page. */
  readonly category: readonly string[];
}

export const themes = {
  light: {
    page: "#ffffff",
    text: "#1b1f24",
    quiet: "#555c66",
    line: "#d5dae0",
    raised: "#f5f7f9",
    accent: "#00589e",
    category: ["#0072b2", "#c84e00", "#00805d", "#a8488a", "#8a6a00", "#3b3f45", "#2b8cbe"],
  },
  dark: {
    page: "#14171b",
    text: "#e7eaee",
    quiet: "#a9b1bb",
    line: "#363c44",
    raised: "#1e2228",
    accent: "#7cc0ff",
    category: ["#56b4e9", "#ff8f3e", "#2fcf9f", "#e69ac8", "#e8c547", "#e7eaee", "#8fa8ff"],
  },
} as const satisfies Record<string, Theme>;

const variables = ({ category: _category, ...colours }: Theme): string =>
  `:root{${Object.entries(colours)
    .map(([name, colour]) => `--${name}:${colour}`)
    .join(";")}}`;

/** The page's colours as CSS variables; light or dark follows the system. */
export const themeCss = `${variables(themes.light)}@media (prefers-color-scheme: dark){${variables(themes.dark)}}`;

/** How Vega-Lite draws every figure. */
export const figureConfig = ({ text, quiet, line, category }: Theme) => {
  const labels = {
    labelColor: quiet,
    titleColor: text,
    titleFontWeight: "normal",
    labelFontSize: 12,
    titleFontSize: 13,
  };
  return {
    background: null,
    font: "system-ui, sans-serif",
    range: { category },
    view: { stroke: null },
    axis: { ...labels, gridColor: line, domainColor: quiet, tickColor: quiet, titlePadding: 8 },
    axisBand: { grid: false },
    legend: { ...labels, orient: "top", titleLimit: 0, symbolStrokeWidth: 2, symbolSize: 90 },
    header: { labelColor: text, labelFontSize: 13, titleColor: text },
    rule: { color: text },
  };
};
