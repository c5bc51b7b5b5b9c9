import { csvName } from "./cells.js";
import { tableText } from "./csv.js";
import type { Report, ReportFigure } from "./report-model.js";

/** Where a figure's files lie, without their extension, relative to the report. */
export type FigurePlaces = ReadonlyMap<ReportFigure, string>;

/** A file that is written beside a report, relative to it. */
export interface ReportFile {
  readonly name: string;
  readonly text: string;
}

const maxName = 60;

/** A place for each figure: numbered, since titles may be alike. */
export const figurePlaces = ({ sections }: Report, folder: string): FigurePlaces =>
  new Map(
    sections
      .flatMap(({ figures }) => figures)
      .map((figure, index) => {
        const number = String(index + 1).padStart(2, "0");
        return [figure, `${folder}/${number}-${csvName(figure.title).replaceAll("_", "-").slice(0, maxName)}`];
      }),
  );

/** The data of each figure as a CSV file. */
export const figureDataFiles = (places: FigurePlaces): readonly ReportFile[] =>
  [...places].map(([{ data }, place]) => {
    const fields = [...new Set(data.flatMap((row) => Object.keys(row)))];
    return { name: `${place}.csv`, text: tableText([fields, ...data.map((row) => fields.map((field) => row[field] ?? null))]) }; // prettier-ignore
  });

/** Each figure as an SVG file. */
export const figurePictures = async (places: FigurePlaces): Promise<readonly ReportFile[]> => {
  if (places.size === 0) return [];
  // Most reports are HTML or have no figures: the charting library is loaded where it is needed.
  const { figureSvg } = await import("./figures/figure-svg.js");
  const files: ReportFile[] = [];
  for (const [figure, place] of places) files.push({ name: `${place}.svg`, text: figureSvg(figure) });
  return files;
};
