import type { Cell, Report, ReportSection, ReportTable } from "./report-model.js";

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

const sectionLines = ({ title, text, tables }: ReportSection): readonly string[] => [
  `## ${title}`,
  "",
  ...paragraphs(text),
  ...tables.flatMap((table) => [`### ${table.title}`, "", ...tableMarkdown(table)]),
];

/** The tables of a report as Markdown; figures need HTML. */
export const reportMarkdown = ({ title, text, sections, problems }: Report): string => {
  const failures = problems.map(({ place, problem }) => `- ${place}: ${problem.replaceAll(/\s+/g, " ")}`);
  return [
    `# ${title}`,
    "",
    ...paragraphs(text),
    ...sections.filter(({ tables }) => tables.length > 0).flatMap(sectionLines),
    ...(failures.length === 0 ? [] : ["## Could not be read", "", ...failures, ""]),
  ].join("\n");
};
