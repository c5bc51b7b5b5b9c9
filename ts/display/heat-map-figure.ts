import { escapeMarkup } from "../util/text.js";
import { type Figure, palette, shortNumber, svgFrame, vegaLiteFrame } from "./figure.js";

export interface HeatMapOptions {
  readonly title: string;
  readonly rowTitle: string;
  readonly columnTitle: string;
  readonly rows: readonly string[];
  readonly columns: readonly string[];
  /** Row → column → value from 0 up; 0 is drawn empty. */
  readonly values: readonly (readonly number[])[];
}

const cell = { width: 56, height: 16, left: 64, top: 44 } as const;

const cellsOf = ({ rows, columns, values }: HeatMapOptions) =>
  rows.flatMap((row, rowIndex) =>
    columns.map((column, columnIndex) => ({
      row,
      column,
      rowIndex,
      columnIndex,
      value: values[rowIndex]?.[columnIndex] ?? 0,
    })),
  );

/** A grid of values, the darker the higher. */
export const heatMapFigure = (options: HeatMapOptions): Figure => {
  const { title, rowTitle, columnTitle, rows, columns } = options;
  const cells = cellsOf(options);
  const highest = Math.max(...cells.map(({ value }) => value), Number.EPSILON);
  const body = [
    ...columns.map(
      (column, index) =>
        `<text x="${cell.left + (index + 0.5) * cell.width}" y="${cell.top - 6}" text-anchor="middle">${escapeMarkup(column)}</text>`,
    ),
    ...rows.map(
      (row, index) =>
        `<text x="${cell.left - 6}" y="${cell.top + (index + 0.75) * cell.height}" text-anchor="end">${escapeMarkup(row)}</text>`,
    ),
    ...cells.map(({ row, column, rowIndex, columnIndex, value }) => {
      const place = `x="${cell.left + columnIndex * cell.width}" y="${cell.top + rowIndex * cell.height}"`;
      const label = escapeMarkup(`${row}, ${column}: ${shortNumber(value)}`);
      return `<rect ${place} width="${cell.width - 1}" height="${cell.height - 1}" fill="${palette[0]}" fill-opacity="${(value / highest).toFixed(3)}" stroke="#80808033"><title>${label}</title></rect>`;
    }),
  ];
  const width = Math.max(cell.left + columns.length * cell.width + 8, 320);
  return {
    svg: svgFrame({ width, height: cell.top + rows.length * cell.height + 8, title, body }),
    vegaLite: {
      ...vegaLiteFrame(
        title,
        cells.map(({ row, column, value }) => ({ row, column, value })),
      ),
      mark: { type: "rect", tooltip: true },
      encoding: {
        x: { field: "column", type: "nominal", title: columnTitle, sort: columns },
        y: { field: "row", type: "nominal", title: rowTitle, sort: rows },
        color: { field: "value", type: "quantitative", title: null },
      },
    },
    text: [title, ...rows.map((row) => `  ${rowTitle} ${row}: ${activeText(cells, row)}`)].join("\n"),
  };
};

const activeText = (cells: ReturnType<typeof cellsOf>, row: string): string =>
  cells
    .filter((each) => each.row === row && each.value > 0)
    .map(({ column, value }) => `${column} ${shortNumber(value)}`)
    .join(", ") || "-";
