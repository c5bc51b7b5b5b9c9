import { csvName } from "./cells.js";
import type { Cell, Report, ReportTable } from "./report-model.js";

/** What LaTeX reads as syntax, and signs of ours that pdflatex's fonts lack. */
const replacements: Readonly<Record<string, string>> = {
  "\\": String.raw`\textbackslash{}`,
  "{": String.raw`\{`,
  "}": String.raw`\}`,
  $: String.raw`\$`,
  "&": String.raw`\&`,
  "#": String.raw`\#`,
  "%": String.raw`\%`,
  _: String.raw`\_`,
  "^": String.raw`\textasciicircum{}`,
  "~": String.raw`\textasciitilde{}`,
  "<": "$<$",
  ">": "$>$",
  "≈": String.raw`$\approx$`,
  "×": String.raw`$\times$`,
  λ: String.raw`$\lambda$`,
  "³": "$^3$",
  "−": "$-$",
  "–": "--",
  "…": String.raw`\ldots{}`,
};

/** The rest of what is not in Latin-1 is named by its code point: pdflatex would stop at it. */
const characterCode = (character: string): string => {
  const code = character.codePointAt(0) ?? 0;
  if (code < 32) return " ";
  return code < 127 || (code > 160 && code < 256)
    ? character
    : String.raw`\texttt{U+${code.toString(16).toUpperCase()}}`;
};

const escaped = (text: string): string =>
  Array.from(text, (character) => replacements[character] ?? characterCode(character)).join("");

const cellText = ({ text, mark, inside }: Cell): string => {
  const plain = escaped(text);
  const marked =
    mark === "best" ? String.raw`\textbf{${plain}}` : mark === "second" ? String.raw`\underline{${plain}}` : plain;
  return inside === true ? String.raw`${marked}\,$^{\approx}$` : marked;
};

const rowLine = (cells: readonly string[]): string => String.raw`    ${cells.join(" & ")} \\`;

/** A table as a `table` environment for the package booktabs; titles and notes are its caption. */
export const tableLatex = ({ title, columns, rows, before, notes }: ReportTable): string =>
  [
    String.raw`\begin{table}`,
    String.raw`  \centering`,
    String.raw`  \small`,
    String.raw`  \caption{${[`${title}.`, ...before, ...notes].map(escaped).join(" ")}}`,
    String.raw`  \label{tab:${csvName(title).replaceAll("_", "-")}}`,
    String.raw`  \begin{tabular}{@{}${columns.map(({ numeric }) => (numeric ? "r" : "l")).join("")}@{}}`,
    String.raw`    \toprule`,
    rowLine(columns.map((column) => escaped(column.title))),
    String.raw`    \midrule`,
    ...rows.map((row) => rowLine(row.map(cellText))),
    String.raw`    \bottomrule`,
    String.raw`  \end{tabular}`,
    String.raw`\end{table}`,
  ].join("\n");

/** The tables of a report as LaTeX to be read in by `\input`. */
export const reportLatex = ({ title, sections, problems }: Report): string => {
  const tables = sections.flatMap((section) => section.tables.map(tableLatex));
  const missing = problems.map(
    ({ place, problem }) => `% could not be read: ${place}: ${problem.replaceAll(/\s+/g, " ")}`,
  );
  return [
    `% ${title.replaceAll(/\s+/g, " ")}`,
    String.raw`% needs \usepackage{booktabs}`,
    ...missing,
    "",
    tables.join("\n\n"),
    "",
  ].join("\n");
};
