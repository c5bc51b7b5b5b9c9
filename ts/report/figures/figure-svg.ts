import { createRequire } from "node:module";
import { compileFunction } from "node:vm";
import { escapeMarkup } from "../../util/text.js";
import { libraryCode, type ChartingLibrary } from "../html/library-file.js";
import type { ReportFigure } from "../report-model.js";
import { hoverLayer } from "./series.js";
import { figureConfig, themes } from "./theme.js";

/** What is used of vega and vega-lite. */
interface Charting {
  compile: (spec: object, options: { readonly config: object }) => { readonly spec: object };
  parse: (spec: object) => object;
  View: new (runtime: object, options: { readonly renderer: "none" }) => { toSVG: () => Promise<string> };
}

/** Runs a package's one file as CommonJS; the same files are in the HTML report. */
const evaluate = <Exports extends object>(library: ChartingLibrary, exports: Exports, required: object): Exports => {
  const own = createRequire(import.meta.url);
  const require = (name: string): unknown => (name === "vega" ? required : own(name));
  Reflect.apply(compileFunction(libraryCode(library), ["exports", "module", "require"]), undefined, [
    exports,
    { exports },
    require,
  ]);
  return exports;
};

const loadCharting = (): Charting => {
  const vega = evaluate<Partial<Pick<Charting, "parse" | "View">>>("vega", {}, {});
  const { compile } = evaluate<Partial<Pick<Charting, "compile">>>("vega-lite", {}, vega);
  const { parse, View } = vega;
  if (compile === undefined || parse === undefined || View === undefined)
    throw new TypeError("the charting library's files do not fit together");
  return { compile, parse, View };
};

let charting: Charting | undefined;

/** Columns of a legend above a figure of this width. */
const width = 680;
const legendColumns = 4;

type Spec = Readonly<Record<string, unknown>>;

/** A picture has a width of its own, and no points that are there for the pointer alone. */
const pictured = (spec: Spec): Spec => ({
  ...spec,
  ...(spec["width"] === "container" ? { width } : {}),
  ...(Array.isArray(spec["layer"])
    ? { layer: spec["layer"].filter((layer: Spec) => layer["name"] !== hoverLayer) }
    : {}),
});

/** Rules that change every colour of the light theme to the dark one's; what reads no CSS shows the light one. */
const darkRules = (): string => {
  const { light, dark } = themes;
  const pairs = [
    [light.page, dark.page],
    [light.text, dark.text],
    [light.quiet, dark.quiet],
    [light.line, dark.line],
    ...light.category.map((colour, index) => [colour, dark.category[index] ?? colour]),
  ];
  const rules = pairs.flatMap(([from, to]) =>
    ["fill", "stroke"].map((property) => `[${property}="${from}"]{${property}:${to}}`),
  );
  return `@media (prefers-color-scheme: dark){${rules.join("")}}`;
};

/** A figure as an SVG file that stands by itself, on a page of its own colour: light, or dark where the system is. */
export const figureSvg = async ({ title, spec, data }: ReportFigure): Promise<string> => {
  charting ??= loadCharting();
  const config = figureConfig(themes.light);
  const { spec: compiled } = charting.compile(
    { ...pictured(spec), data: { values: data }, padding: 10 },
    {
      config: {
        ...config,
        background: themes.light.page,
        legend: { ...config.legend, columns: legendColumns },
        // Names of marks for screen readers are most of such a file, and an image's text is all that is read of it.
        aria: false,
      },
    },
  );
  const svg = await new charting.View(charting.parse(compiled), { renderer: "none" }).toSVG();
  return svg.replace(/>/, ` role="img"><title>${escapeMarkup(title)}</title><style>${darkRules()}</style>`);
};
