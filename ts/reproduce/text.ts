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

/** Speeds are of no training: nothing trains, there is no model before it, and no seeds. */
const isOfTraining = ({ measure }: ComparedTable): boolean => measure !== "speed";

/** The paper's columns that a table has: none, its value, or that and the parameters that it prints. */
const paperColumns = ({ source, rows }: ComparedTable): readonly ("paper" | "paper trains")[] => {
  if (source === null) return [];
  return rows.some(({ paperTrainable }) => paperTrainable !== null) ? ["paper", "paper trains"] : ["paper"];
};

/** The columns that a table has: their names and a row's cells. */
const columnsOf = (table: ComparedTable): readonly (readonly [string, (row: ComparedRow) => string])[] => {
  const { measure } = table;
  const cells = {
    row: (row: ComparedRow) => row.row,
    trains: ({ trainable }: ComparedRow) => trainable?.toLocaleString("en") ?? none,
    untuned: ({ before }: ComparedRow) => shown(before, measure),
    ours: ({ ours }: ComparedRow) => shown(ours, measure),
    range: (row: ComparedRow) => rangeText(row, measure),
    seeds: ({ seeds }: ComparedRow) => String(seeds),
    paper: ({ paper }: ComparedRow) => (paper === null ? none : String(paper)),
    "paper trains": ({ paperTrainable }: ComparedRow) => paperTrainable ?? none,
  };
  const own = isOfTraining(table)
    ? (["row", "trains", "untuned", "ours", "range", "seeds"] as const)
    : (["row", "ours"] as const);
  return [...own, ...paperColumns(table)].map((name) => [name, cells[name]]);
};

const tableLines = (table: ComparedTable): readonly string[] => {
  const { column, group, measure, source, protocols, rows } = table;
  const columns = columnsOf(table);
  const unit = isOfTraining(table) ? ` (${measure}${measure === "accuracy" ? ", %" : ""})` : "";
  return [
    `## ${column}${group === null || group === column ? "" : `, trained on ${group}`}${unit}`,
    "",
    source === null ? "The paper prints no figures of this column." : `Paper: ${source}.`,
    ...protocols.map((protocol) => `Ours: ${protocol}.`),
    "",
    line(columns.map(([name]) => name)),
    line(columns.map((_, index) => (index === 0 ? "---" : "---:"))),
    ...rows.map((row) => line(columns.map(([, cellOf]) => cellOf(row)))),
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
    ...(tables.some(isOfTraining) ? [guide, ""] : []),
    ...list("Not as in the paper", differences),
  ].join("\n");
};
