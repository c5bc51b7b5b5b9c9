import { posix } from "node:path";
import { csvName } from "./cells.js";
import type { FigurePlaces } from "./figure-files.js";
import type { Cell, Report, ReportFigure, ReportTable } from "./report-model.js";
import { oneLine } from "../util/text.js";

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
    // A table wider than the line is made smaller; the others stay as they are.
    String.raw`  \resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%`,
    String.raw`  \begin{tabular}{@{}${columns.map(({ numeric }) => (numeric ? "r" : "l")).join("")}@{}}`,
    String.raw`    \toprule`,
    rowLine(columns.map((column) => escaped(column.title))),
    String.raw`    \midrule`,
    ...rows.map((row) => rowLine(row.map(cellText))),
    String.raw`    \bottomrule`,
    String.raw`  \end{tabular}}`,
    String.raw`\end{table}`,
  ].join("\n");

/** A figure by its PDF; until there is one, its SVG file's name in a frame. */
const figureLatex = ({ title, caption }: ReportFigure, place: string): string => {
  const name = posix.basename(place);
  const file = String.raw`\reportfigures/${name}.pdf`;
  return [
    String.raw`\begin{figure}`,
    String.raw`  \centering`,
    String.raw`  \IfFileExists{${file}}{\includegraphics[width=\linewidth]{${file}}}{\fbox{\texttt{${name}.svg}}}`,
    String.raw`  \caption{${escaped(`${title}. ${caption}`)}}`,
    String.raw`  \label{fig:${name}}`,
    String.raw`\end{figure}`,
  ].join("\n");
};

const figureGuide = (folder: string): readonly string[] => [
  "% Figures: pdflatex reads no SVG. Make each a PDF beside it, once, by one of these:",
  `%   for f in ${folder}/*.svg; do rsvg-convert -f pdf -o "\${f%.svg}.pdf" "$f"; done`,
  `%   inkscape --export-type=pdf ${folder}/*.svg`,
  "% Where the document lies elsewhere, define \\reportfigures before \\input as the path to that folder.",
  String.raw`\providecommand{\reportfigures}{${folder}}`,
];

/** A report as LaTeX to be read in by `\input`; figures are pictures in the places that are given. */
export const reportLatex = ({ title, sections, problems }: Report, places: FigurePlaces = new Map()): string => {
  const [place] = places.values();
  const parts = sections.flatMap(({ tables, figures }) => [
    ...tables.map(tableLatex),
    ...figures.flatMap((figure) => {
      const own = places.get(figure);
      return own === undefined ? [] : [figureLatex(figure, own)];
    }),
  ]);
  const missing = problems.map(({ place: at, problem }) => `% could not be read: ${at}: ${oneLine(problem)}`);
  return [
    `% ${oneLine(title)}`,
    String.raw`% needs \usepackage{booktabs,graphicx}`,
    ...missing,
    ...(place === undefined ? [] : figureGuide(posix.dirname(place))),
    "",
    parts.join("\n\n"),
    "",
  ].join("\n");
};
