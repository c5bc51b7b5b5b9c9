import { readFileSync } from "node:fs";
import { escapeMarkup } from "../../util/text.js";
import { csvName } from "../cells.js";
import { figureConfig, themeCss, themes } from "../figures/theme.js";
import type {
  Cell,
  DataValue,
  Report,
  ReportFigure,
  ReportProblem,
  ReportSection,
  ReportTable,
} from "../report-model.js";
import { libraryCode, libraryFile } from "./library-file.js";

/** Our own page's script and style, which stand beside this file. */
const asset = (name: string): string => readFileSync(new URL(`./assets/${name}`, import.meta.url), "utf8");

const libraries = ["vega", "vega-lite", "vega-embed"] as const;

const paragraphs = (texts: readonly string[], kind: string): string =>
  texts.map((text) => `<p class="${kind}">${escapeMarkup(text)}</p>`).join("\n");

/** Text inside a script element, which only its own end tag may end. */
const scriptText = (text: string): string => text.replaceAll("</script", String.raw`<\/script`);

const json = (value: unknown): string => JSON.stringify(value).replaceAll("<", String.raw`\u003c`);

const cellHtml = ({ text, mark, inside, values }: Cell, numeric: boolean): string => {
  const marked =
    mark === "best"
      ? `<b>${escapeMarkup(text)}</b>`
      : mark === "second"
        ? `<u>${escapeMarkup(text)}</u>`
        : escapeMarkup(text);
  const note = inside === true ? ' <abbr title="inside the spread of the best: no difference is shown">≈</abbr>' : "";
  const sortsBy = numeric && values.length > 0 ? ` data-value="${values[Math.floor(values.length / 2)] ?? ""}"` : "";
  return `<td${sortsBy}>${marked}${note}</td>`;
};

const rowHtml = (row: readonly Cell[], { columns }: ReportTable): string =>
  `<tr>${row.map((cell, index) => cellHtml(cell, columns[index]?.numeric ?? false)).join("")}</tr>`;

interface Placed<Item> {
  readonly item: Item;
  readonly id: string;
}

const tableHtml = ({ item, id }: Placed<ReportTable>): string => {
  const title = escapeMarkup(item.title);
  const head = item.columns
    .map(
      ({ title: name, numeric }) =>
        `<th scope="col"${numeric ? ' class="number"' : ""}><button type="button">${escapeMarkup(name)}</button></th>`,
    )
    .join("");
  return `<section class="table" id="${id}" aria-labelledby="${id}-title">
<h3 id="${id}-title">${title}</h3>
${paragraphs(item.before, "protocol")}
<div class="tools"><label>Filter <input type="search" aria-label="Filter the rows of ${title}"></label><output></output><button type="button" class="csv" data-name="${csvName(item.title)}">CSV</button></div>
<div class="scroll" tabindex="0" role="region" aria-label="${title}"><table><thead><tr>${head}</tr></thead>
<tbody>
${item.rows.map((row) => rowHtml(row, item)).join("\n")}
</tbody></table></div>
${paragraphs(item.notes, "note")}
</section>`;
};

const figureHtml = ({ item, id }: Placed<ReportFigure>): string => `<figure id="${id}" aria-labelledby="${id}-title">
<h3 id="${id}-title">${escapeMarkup(item.title)}</h3>
<div class="scroll" tabindex="0" role="region" aria-label="${escapeMarkup(item.title)}"><div class="plot"></div></div>
<figcaption>${escapeMarkup(item.caption)}</figcaption>
<div class="tools"><button type="button" class="csv" data-name="${csvName(item.title)}">Data as CSV</button></div>
</figure>`;

interface PlacedSection {
  readonly id: string;
  readonly section: ReportSection;
  readonly tables: readonly Placed<ReportTable>[];
  readonly figures: readonly Placed<ReportFigure>[];
}

const placed = (sections: readonly ReportSection[]): readonly PlacedSection[] =>
  sections.map((section, place) => {
    const id = `section-${place + 1}`;
    return {
      id,
      section,
      tables: section.tables.map((item, index) => ({ item, id: `${id}-table-${index + 1}` })),
      figures: section.figures.map((item, index) => ({ item, id: `${id}-figure-${index + 1}` })),
    };
  });

const link = (id: string, title: string): string => `<a href="#${id}">${escapeMarkup(title)}</a>`;

const contentsHtml = (sections: readonly PlacedSection[], problems: readonly ReportProblem[]): string => {
  const items = sections.map(({ id, section, tables, figures }) => {
    const inner = [...tables, ...figures].map(({ id: target, item }) => `<li>${link(target, item.title)}</li>`);
    return `<li>${link(id, section.title)}<ul>${inner.join("")}</ul></li>`;
  });
  const failures = problems.length === 0 ? "" : `<li>${link("problems", "Could not be read")}</li>`;
  return `<nav aria-label="Contents"><details open><summary>Contents</summary><ul>${items.join("")}${failures}</ul></details></nav>`;
};

const sectionHtml = ({
  id,
  section,
  tables,
  figures,
}: PlacedSection): string => `<section id="${id}" aria-labelledby="${id}-title">
<h2 id="${id}-title">${escapeMarkup(section.title)}</h2>
${paragraphs(section.text, "text")}
${[...tables.map(tableHtml), ...figures.map(figureHtml)].join("\n")}
</section>`;

const problemsHtml = (problems: readonly ReportProblem[]): string =>
  problems.length === 0
    ? ""
    : `<section id="problems" aria-labelledby="problems-title"><h2 id="problems-title">Could not be read</h2>
<p>What else these places hold is shown above.</p>
<dl>${problems.map(({ place, problem }) => `<dt>${escapeMarkup(place)}</dt><dd>${escapeMarkup(problem)}</dd>`).join("\n")}</dl></section>`;

/** Figures and CSV data for the page's script; rows without field names, which would be most of the file. */
const pageData = (sections: readonly PlacedSection[]) => {
  const figures = sections.flatMap((section) =>
    section.figures.map(({ id, item: { spec, data } }) => {
      const fields = [...new Set(data.flatMap((row) => Object.keys(row)))];
      return { id, spec, fields, rows: data.map((row) => fields.map((field): DataValue => row[field] ?? null)) };
    }),
  );
  const tables = sections.flatMap((section) =>
    section.tables.map(({ id, item: { columns, rows } }) => ({
      id,
      fields: columns.flatMap(({ csv }) => csv),
      rows: rows.map((row) => row.flatMap(({ values }) => values)),
    })),
  );
  const configs = { light: figureConfig(themes.light), dark: figureConfig(themes.dark) };
  return { figures, tables, configs };
};

const scripts = (sections: readonly PlacedSection[]): string => {
  const hasFigures = sections.some(({ figures }) => figures.length > 0);
  // As plain text, so that the page is there before it is parsed; the page's script runs it with the first figure.
  const loaded = libraries.map(
    (name) => `<script type="text/plain" class="library">${scriptText(libraryCode(name))}</script>`,
  );
  const licence = `<!-- vega, vega-lite and vega-embed are in this file under this licence:\n${libraryFile("vega", "LICENSE").replaceAll("--", "- -")}-->`;
  return [
    `<script type="application/json" id="data">${json(pageData(sections))}</script>`,
    ...(hasFigures ? [licence, ...loaded] : []),
    `<script>${scriptText(asset("page.js"))}</script>`,
  ].join("\n");
};

/** A report as one HTML file that loads nothing. */
export const reportHtml = ({ title, text, sections, problems }: Report): string => {
  const places = placed(sections);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escapeMarkup(title)}</title>
<link rel="icon" href="data:,">
<style>${themeCss}
${asset("page.css")}</style>
</head>
<body>
<a class="skip" href="#main">To the results</a>
<header><h1>${escapeMarkup(title)}</h1>
${paragraphs(text, "text")}
</header>
${contentsHtml(places, problems)}
<main id="main">
<noscript><p>Figures, sorting and filtering need JavaScript; the tables are all here.</p></noscript>
${places.map(sectionHtml).join("\n")}
${problemsHtml(problems)}
</main>
${scripts(places)}
</body>
</html>
`;
};
