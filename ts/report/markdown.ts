import type { FigurePlaces } from "./figure-files.js";
import type { Cell, Report, ReportFigure, ReportSection, ReportTable } from "./report-model.js";

const escaped = (text: string): string => text.replaceAll("|", String.raw`\|`).replaceAll("\n", " ");

const cellText = ({ text, mark, inside }: Cell): string => {
  const plain = escaped(text);
  const marked = mark === "best" ? `**${plain}**` : mark === "second" ? `<u>${plain}</u>` : plain;
  return inside === true ? `${marked} ≈` : marked;
};

const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;

const paragraphs = (texts: readonly string[]): readonly string[] => texts.flatMap((text) => [text, ""]);

/** A table as Markdown, with what stands above and below it, without its title. */
export const tableMarkdown = ({ columns, rows, before, notes }: ReportTable): readonly string[] => [
  ...paragraphs(before),
  line(columns.map(({ title }) => escaped(title))),
  line(columns.map(({ numeric }) => (numeric ? "---:" : "---"))),
  ...rows.map((row) => line(row.map(cellText))),
  "",
  ...paragraphs(notes),
];

/** Signs that would end an image's text. */
const alternative = (title: string): string => title.replaceAll(/[[\]\\]/g, "");

const figureLines = (figure: ReportFigure, place: string | undefined): readonly string[] =>
  place === undefined
    ? []
    : [
        `### ${figure.title}`,
        "",
        `![${alternative(figure.title)}](${place}.svg)`,
        "",
        `${figure.caption} [Data as CSV](${place}.csv).`,
        "",
      ];

const sectionLines = ({ title, text, tables, figures }: ReportSection, places: FigurePlaces): readonly string[] => [
  `## ${title}`,
  "",
  ...paragraphs(text),
  ...tables.flatMap((table) => [`### ${table.title}`, "", ...tableMarkdown(table)]),
  ...figures.flatMap((figure) => figureLines(figure, places.get(figure))),
];

/** A report as Markdown; figures are pictures in the places that are given. */
export const reportMarkdown = (
  { title, text, sections, problems }: Report,
  places: FigurePlaces = new Map(),
): string => {
  const failures = problems.map(({ place, problem }) => `- ${place}: ${problem.replaceAll(/\s+/g, " ")}`);
  return [
    `# ${title}`,
    "",
    ...paragraphs(text),
    ...sections.flatMap((section) => sectionLines(section, places)),
    ...(failures.length === 0 ? [] : ["## Could not be read", "", ...failures, ""]),
  ].join("\n");
};
