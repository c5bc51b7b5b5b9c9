import { escapeMarkup } from "../util/text.js";
import { colourOf, type Figure, shortNumber, svgFrame, vegaLiteFrame } from "./figure.js";

export interface Point {
  readonly x: number;
  readonly y: number;
}

export interface Series {
  readonly name: string;
  readonly points: readonly Point[];
}

export interface LineFigureOptions {
  readonly title: string;
  readonly xTitle: string;
  readonly yTitle: string;
  readonly series: readonly Series[];
}

const [width, height] = [640, 300];
const area = { left: 56, right: width - 16, top: 48, bottom: height - 40 } as const;

/** More points than this look the same and make a notebook heavy. */
const maxPoints = 400;

const thinned = (points: readonly Point[]): readonly Point[] => {
  const stride = Math.ceil(points.length / maxPoints);
  return points.filter((_, index) => index % stride === 0 || index === points.length - 1);
};

interface Scale {
  readonly low: number;
  readonly high: number;
  readonly place: (value: number) => number;
}

const scaleOf = (values: readonly number[], from: number, to: number): Scale => {
  const [low, top] = values.length === 0 ? [0, 1] : [Math.min(...values), Math.max(...values)];
  const high = top > low ? top : low + 1;
  return { low, high, place: (value) => from + ((value - low) / (high - low)) * (to - from) };
};

const ticks = ({ low, high }: Scale): readonly number[] =>
  [0, 0.25, 0.5, 0.75, 1].map((share) => low + share * (high - low));

const axes = (x: Scale, y: Scale): readonly string[] => [
  ...ticks(y).map((value) => {
    const at = y.place(value).toFixed(1);
    return `<line x1="${area.left}" x2="${area.right}" y1="${at}" y2="${at}" stroke="#80808055"/><text x="${area.left - 6}" y="${at}" text-anchor="end" dominant-baseline="middle">${shortNumber(value)}</text>`;
  }),
  ...ticks(x).map(
    (value) =>
      `<text x="${x.place(value).toFixed(1)}" y="${area.bottom + 16}" text-anchor="middle">${Math.round(value)}</text>`,
  ),
];

const drawn = ({ name, points }: Series, index: number, x: Scale, y: Scale): readonly string[] => {
  const colour = colourOf(index);
  const places = points.map((point) => `${x.place(point.x).toFixed(1)},${y.place(point.y).toFixed(1)}`);
  return [
    `<polyline points="${places.join(" ")}" fill="none" stroke="${colour}" stroke-width="1.5"/>`,
    ...(points.length > 40 ? [] : places.map((place) => `<circle cx="${place.replace(",", '" cy="')}" r="2" fill="${colour}"/>`)),
    `<text x="${area.left + 170 * index}" y="36" fill="${colour}">${escapeMarkup(name)}</text>`,
  ]; // prettier-ignore
};

/** Lines over a common x axis. */
export const lineFigure = ({ title, xTitle, yTitle, series }: LineFigureOptions): Figure => {
  const shown = series.map(({ name, points }) => ({ name, points: thinned(points) }));
  const all = shown.flatMap(({ points }) => points);
  const x = scaleOf(
    all.map((point) => point.x),
    area.left,
    area.right,
  );
  const y = scaleOf(
    all.map((point) => point.y),
    area.bottom,
    area.top,
  );
  const body = [
    ...axes(x, y),
    ...shown.flatMap((each, index) => drawn(each, index, x, y)),
    `<text x="${area.right}" y="${height - 8}" text-anchor="end">${escapeMarkup(xTitle)}</text>`,
    `<text x="8" y="36">${escapeMarkup(yTitle)}</text>`,
  ];
  const values = shown.flatMap(({ name, points }) => points.map((point) => ({ series: name, ...point })));
  return {
    svg: svgFrame({ width, height, title, body }),
    vegaLite: {
      ...vegaLiteFrame(title, values),
      width: 560,
      mark: { type: "line", point: all.length <= 40, tooltip: true },
      encoding: {
        x: { field: "x", type: "quantitative", title: xTitle },
        y: { field: "y", type: "quantitative", title: yTitle, scale: { zero: false } },
        color: { field: "series", type: "nominal", title: null },
      },
    },
    text: [title, ...series.map(({ name, points }) => `  ${name}: ${lastOf(points, xTitle)}`)].join("\n"),
  };
};

const lastOf = (points: readonly Point[], xTitle: string): string => {
  const last = points.at(-1);
  return last === undefined ? "-" : `${shortNumber(last.y)} at ${xTitle} ${last.x}`;
};
