import { reportCsv } from "./csv.js";
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

/** A report as a file's text. Figures are in HTML alone, which needs no network. */
export const renderReport = (report: Report, format: ReportFormat): string => {
  switch (format) {
    case "html":
      return reportHtml(report);
    case "md":
      return reportMarkdown(report);
    case "csv":
      return reportCsv(report);
    case "latex":
      return reportLatex(report);
  }
};
