/**
 * How series of one figure are told apart: colours of a colour-blind safe palette, which the page sets for light and
 * dark (`range.category`), and dashes or shapes, so that no two of the first 28 look the same.
 */
const dashes = [[1, 0], [7, 3], [2, 2], [9, 2, 2, 2]] as const; // prettier-ignore
const shapes = ["circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left"] as const; // prettier-ignore

export const distinct = (values: readonly string[]): readonly string[] => [...new Set(values)];

const cycled = <Value>(values: readonly Value[], count: number, fallback: Value): readonly Value[] =>
  Array.from({ length: count }, (_, index) => values[index % values.length] ?? fallback);

/** Colour by a field, with the order of its values as they come; `symbolType` is what the legend shows. */
export const colourBy = (field: string, values: readonly string[], symbolType?: "stroke") => ({
  field,
  type: "nominal",
  title: null,
  scale: { domain: distinct(values) },
  legend: { symbolLimit: 0, labelLimit: 220, ...(symbolType === undefined ? {} : { symbolType }) },
});

export const dashBy = (field: string, values: readonly string[]) => {
  const domain = distinct(values);
  return {
    field,
    type: "nominal",
    title: null,
    scale: { domain, range: cycled<readonly number[]>(dashes, domain.length, [1, 0]) },
  };
};

export const shapeBy = (field: string, values: readonly string[]) => {
  const domain = distinct(values);
  return {
    field,
    type: "nominal",
    title: null,
    scale: { domain, range: cycled<string>(shapes, domain.length, "circle") },
  };
};

/** A click on the legend leaves the other series pale. */
export const legendPick = (field: string) => ({
  name: "pick",
  select: { type: "point", fields: [field] },
  bind: "legend",
});

export const paleUnlessPicked = { condition: { param: "pick", value: 1 }, value: 0.12 };

export const quantity = (field: string, title: string, more: object = {}) => ({
  field,
  type: "quantitative",
  title,
  ...more,
});

/** A row of a tooltip. */
export const tip = (field: string, title: string, format?: string) => ({
  field,
  title,
  ...(format === undefined ? {} : { format, type: "quantitative" }),
});

/** Logarithmic where the values reach over more than a factor of 30, so that one run does not flatten the others. */
export const wideScale = (values: readonly number[]) => {
  const lowest = values.reduce((low, value) => Math.min(low, value), Number.POSITIVE_INFINITY);
  const highest = values.reduce((high, value) => Math.max(high, value), 0);
  return lowest > 0 && highest > 30 * lowest ? { type: "log" } : { zero: false };
};

/** Four significant digits: more cannot be seen, and makes the page heavy. */
export const short = (value: number): number => Number(value.toPrecision(4));

/** A layer whose marks only carry tooltips. */
export const hoverLayer = "hover";

/** Fills the page's width. */
export const size = { width: "container", height: 300 } as const;
