import { parse } from "node:path";
import { reportCsv } from "./csv.js";
import { figureDataFiles, figurePictures, figurePlaces, type ReportFile } from "./figure-files.js";
import { reportHtml } from "./html/report-html.js";
import { reportLatex } from "./latex.js";
import { reportMarkdown } from "./markdown.js";
import type { Report } from "./report-model.js";

export const reportFormats = ["html", "md", "csv", "latex"] as const;

export type ReportFormat = (typeof reportFormats)[number];

/** What a file of a format is called. */
export const reportExtensions: Readonly<Record<ReportFormat, string>> = {
  html: "html",
  md: "md",
  csv: "csv",
  latex: "tex",
};

/** Figures lie in a folder that is named after the report; signs that Markdown or LaTeX read as syntax are left out. */
const figureFolder = (name: string): string => `${parse(name).name.replaceAll(/[^\w.-]+|_/g, "-")}-figures`;

/**
 * A report as files, the first of which is the report itself under the name that is given. HTML holds its figures;
 * Markdown and LaTeX show pictures beside them; every format but HTML has the figures' data as CSV files.
 */
export const reportFiles = async (
  report: Report,
  format: ReportFormat,
  name: string,
): Promise<readonly ReportFile[]> => {
  if (format === "html") return [{ name, text: reportHtml(report) }];
  const places = figurePlaces(report, figureFolder(name));
  const data = figureDataFiles(places);
  switch (format) {
    case "md":
      return [{ name, text: reportMarkdown(report, places) }, ...(await figurePictures(places)), ...data];
    case "csv":
      return [{ name, text: reportCsv(report) }, ...data];
    case "latex":
      return [{ name, text: reportLatex(report, places) }, ...(await figurePictures(places)), ...data];
  }
};
