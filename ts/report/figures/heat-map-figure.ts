import { roles } from "../../spec/roles.js";
import type { ReportFigure } from "../report-model.js";
import { distinct, quantity, short, tip } from "./series.js";

/** A cell of a heat map, in the panel of that name. */
export interface HeatCell {
  readonly panel: string;
  readonly row: string;
  readonly column: string;
  readonly value: number;
}

const partsMark = " · ";

/** A panel's name of several parts, a line each in its heading. */
export const panelParts = (parts: readonly (string | null)[]): string =>
  parts.filter((part) => part !== null).join(partsMark);

/** Experts in the order of a layer's modules; whatever else there is comes after. */
export const expertOrder = (experts: readonly string[]): readonly string[] => {
  const found = distinct(experts);
  const usual: readonly string[] = roles.filter((name) => found.includes(name));
  return [...usual, ...found.filter((name) => !usual.includes(name))];
};

/** Heat maps of experts, a panel each for what is compared, all on one scale from 0. */
export const heatMapFigure = (options: {
  readonly title: string;
  readonly caption: string;
  /** What a row is: a layer, a run. */
  readonly rowTitle: string;
  /** Name and unit of the values. */
  readonly valueTitle: string;
  readonly isShare: boolean;
  /** Whether 0 is drawn as an empty cell instead of the scale's lowest colour. */
  readonly zeroIsEmpty?: boolean;
  readonly cells: readonly HeatCell[];
}): ReportFigure | undefined => {
  const { title, caption, rowTitle, valueTitle, isShare, zeroIsEmpty = false, cells } = options;
  if (cells.length === 0) return undefined;
  const panels = distinct(cells.map(({ panel }) => panel));
  const format = isShare ? ".1%" : ".3~g";
  const map = {
    width: { step: 34 },
    height: { step: 15 },
    ...(zeroIsEmpty ? { transform: [{ filter: "datum.value > 0" }], view: { fill: "#8080801f" } } : {}),
    mark: { type: "rect" },
    encoding: {
      x: {
        field: "column",
        type: "nominal",
        title: "expert",
        scale: { domain: expertOrder(cells.map(({ column }) => column)) },
        axis: { labelAngle: 0 },
      },
      y: {
        field: "row",
        type: "nominal",
        title: rowTitle,
        scale: { domain: distinct(cells.map(({ row }) => row)) },
        axis: { labelLimit: 300 },
      },
      color: quantity("value", valueTitle, {
        scale: { scheme: "viridis", domainMin: 0 },
        legend: { format: isShare ? ".0%" : "~g", gradientLength: 160 },
      }),
      tooltip: [
        ...(panels.length > 1 ? [tip("panel", "of")] : []),
        tip("row", rowTitle),
        tip("column", "expert"),
        tip("value", valueTitle, format),
      ],
    },
  };
  const facet = {
    field: "panel",
    type: "nominal",
    title: null,
    sort: panels,
    header: { labelLimit: 300, labelExpr: `split(datum.label, "${partsMark}")` },
  };
  return {
    title,
    caption,
    data: cells.map(({ value, ...cell }) => ({ ...cell, value: short(value) })),
    spec: panels.length > 1 ? { facet, columns: 2, spec: map } : map,
  };
};
