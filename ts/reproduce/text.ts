import type { ComparedRow, ComparedTable } from "./compare.js";

/** The share of the layers in which each expert is active, for one task's prompts. */
export interface RoutedTask {
  readonly task: string;
  readonly prompts: number;
  readonly activeShare: Readonly<Record<string, number>>;
}

/** What a target came to. */
export interface Reproduction {
  readonly target: string;
  readonly title: string;
  readonly scale: string;
  readonly model: string;
  readonly tables: readonly ComparedTable[];
  readonly routing: readonly RoutedTask[];
  readonly differences: readonly string[];
  /** What is not there yet, and what to do about it. */
  readonly missing: readonly string[];
}

const none = "-";

const digits = { accuracy: 1, "dev perplexity": 4, "score of 10": 2, speed: 1 } as const;

const shown = (value: number | null, measure: ComparedTable["measure"]): string =>
  value === null ? none : value.toFixed(digits[measure]);

const rangeText = ({ range }: ComparedRow, measure: ComparedTable["measure"]): string =>
  range === null ? none : `${shown(range[0], measure)} to ${shown(range[1], measure)}`;

const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;

/** The paper's columns that a table has: none, its value, or that and the parameters that it prints. */
const paperColumns = ({ source, rows }: ComparedTable): readonly string[] => {
  if (source === null) return [];
  return rows.some(({ paperTrainable }) => paperTrainable !== null) ? ["paper", "paper trains"] : ["paper"];
};

const rowCells = (row: ComparedRow, table: ComparedTable): readonly string[] => {
  const { measure } = table;
  const paper = [row.paper === null ? none : String(row.paper), row.paperTrainable ?? none];
  return [
    row.row,
    row.trainable?.toLocaleString("en") ?? none,
    shown(row.before, measure),
    shown(row.ours, measure),
    rangeText(row, measure),
    String(row.seeds),
    ...paper.slice(0, paperColumns(table).length),
  ];
};

const tableLines = (table: ComparedTable): readonly string[] => {
  const { column, group, measure, source, protocols, rows } = table;
  const columns = ["row", "trains", "untuned", "ours", "range", "seeds", ...paperColumns(table)];
  return [
    `## ${column}${group === null || group === column ? "" : `, trained on ${group}`} (${measure}${measure === "accuracy" ? ", %" : ""})`,
    "",
    source === null ? "The paper prints no figures of this column." : `Paper: ${source}.`,
    ...protocols.map((protocol) => `Ours: ${protocol}.`),
    "",
    line(columns),
    line(columns.map((_, index) => (index === 0 ? "---" : "---:"))),
    ...rows.map((row) => line(rowCells(row, table))),
    "",
  ];
};

const routingLines = (routing: readonly RoutedTask[]): readonly string[] => {
  const experts = Object.keys(routing[0]?.activeShare ?? {});
  if (experts.length === 0) return [];
  const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;
  return [
    "## Share of the layers in which each expert is active",
    "",
    line(["task", "prompts", ...experts]),
    line(["---", "---:", ...experts.map(() => "---:")]),
    ...routing.map(({ task, prompts, activeShare }) =>
      line([task, String(prompts), ...experts.map((expert) => percent(activeShare[expert] ?? 0))]),
    ),
    "",
    "With k active experts of seven the shares add up to k; an even router gives each k/7.",
    "",
  ];
};

const list = (title: string, lines: readonly string[]): readonly string[] =>
  lines.length === 0 ? [] : [`## ${title}`, "", ...lines.map((text) => `- ${text}`), ""];

const guide =
  "Ours: the median over the seeds. Range: the lowest and the highest of them, of one seed the 95 % interval of its test rows (Wilson). Rows whose ranges touch are not shown to differ; results.md beside this file compares them question by question. The paper's figures are of another model, budget or protocol: they show the order that it found, not a level to reach.";

/** A reproduction as Markdown: our figures beside the paper's, and what is not as in the paper. */
export const reproductionMarkdown = (reproduction: Reproduction): string => {
  const { title, scale, model, tables, routing, differences, missing } = reproduction;
  return [
    `# ${title}`,
    "",
    `MiLoRA (arXiv 2410.18035), reproduced at ${scale} scale on ${model}.`,
    "",
    ...list("Not there yet", missing),
    ...tables.flatMap(tableLines),
    ...routingLines(routing),
    ...(tables.length === 0 ? [] : [guide, ""]),
    ...list("Not as in the paper", differences),
  ].join("\n");
};
