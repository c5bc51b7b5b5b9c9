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
  View: new (runtime: object, options: { readonly renderer: "none" }) => View;
  SVGStringRenderer: new (loader: object) => Renderer;
}

interface View {
  run: () => View;
  loader: () => object;
  scenegraph: () => { readonly root: Scene };
  finalize: () => void;
}

interface Scene {
  readonly bounds: { readonly x1: number; readonly y1: number; readonly x2: number; readonly y2: number };
}

interface Renderer {
  initialize: (...place: readonly [null, number, number, readonly [number, number], number]) => Renderer;
  background: (colour: string) => Renderer;
  render: (scene: Scene) => Renderer;
  svg: () => string;
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
  const vega = evaluate<Partial<Omit<Charting, "compile">>>("vega", {}, {});
  const { compile } = evaluate<Partial<Pick<Charting, "compile">>>("vega-lite", {}, vega);
  const { parse, View, SVGStringRenderer } = vega;
  if (compile === undefined || parse === undefined || View === undefined || SVGStringRenderer === undefined)
    throw new TypeError("the charting library's files do not fit together");
  return { compile, parse, View, SVGStringRenderer };
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

const margin = 10;

/** What vega's own `toSVG` does, at once: a notebook's outputs must stand in the order of its lines. */
const drawn = ({ parse, View, SVGStringRenderer }: Charting, spec: object): string => {
  const view = new View(parse(spec), { renderer: "none" }).run();
  const { root } = view.scenegraph();
  const { x1, y1, x2, y2 } = root.bounds;
  const [width, height] = [Math.ceil(x2 - x1) + 2 * margin, Math.ceil(y2 - y1) + 2 * margin];
  const svg = new SVGStringRenderer(view.loader())
    .initialize(null, width, height, [margin - x1, margin - y1], 1)
    .background(themes.light.page)
    .render(root)
    .svg();
  view.finalize();
  return svg;
};

/** A figure as an SVG file that stands by itself, on a page of its own colour: light, or dark where the system is. */
export const figureSvg = ({ title, spec, data }: ReportFigure): string => {
  charting ??= loadCharting();
  const config = figureConfig(themes.light);
  // vega marks the rows that it draws: they are copies.
  const values = data.map((row) => ({ ...row }));
  const { spec: compiled } = charting.compile(
    { ...pictured(spec), data: { values } },
    {
      config: {
        ...config,
        legend: { ...config.legend, columns: legendColumns },
        // Names of marks for screen readers are most of such a file, and an image's text is all that is read of it.
        aria: false,
      },
    },
  );
  const svg = drawn(charting, compiled);
  return svg.replace(/>/, ` role="img"><title>${escapeMarkup(title)}</title><style>${darkRules()}</style>`);
};
