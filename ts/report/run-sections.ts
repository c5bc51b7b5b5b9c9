import {
  cellOf,
  grouped,
  marksGuide,
  marksOf,
  none,
  numberCell,
  numberColumn,
  percent,
  rate,
  textCell,
  textColumn,
} from "./cells.js";
import { groupedBy } from "../util/grouped.js";
import type { Cell, ReportSection, ReportTable } from "./report-model.js";
import { runFigures } from "./run-figures.js";
import type { ReportInputs, ReportResult, RunInput } from "./sources/inputs.js";
import { activatedCell, activatedColumn } from "./sweep-result-table.js";

const methodOf = ({ method }: RunInput): string | null => (typeof method["kind"] === "string" ? method["kind"] : null);

const runCells = (run: RunInput, mark: Cell["mark"]): readonly Cell[] => [
  textCell(run.name),
  textCell(methodOf(run)),
  textCell(run.model),
  textCell(run.task),
  numberCell(run.seed, String),
  textCell(run.state),
  numberCell(run.step, grouped),
  textCell(run.stoppedBy),
  { ...numberCell(run.best?.devPerplexity, (value) => value.toFixed(4)), mark },
  numberCell(run.parameters?.trainable, grouped),
  activatedCell(run.parameters?.activated ?? null),
  numberCell(run.tokensPerSecond, rate),
  textCell(run.dtype === null ? null : `${run.dtype} on ${run.device ?? "?"}`),
];

const runTable = (runs: readonly RunInput[]): ReportTable => {
  const isOneTask = new Set(runs.map(({ task, model }) => `${model} ${task}`)).size === 1;
  const perplexities = runs.map(({ best }) => best?.devPerplexity ?? null);
  const marks = isOneTask ? marksOf(perplexities, false) : [];
  return {
    title: "Training runs",
    columns: [
      textColumn("run"),
      textColumn("method"),
      textColumn("model"),
      textColumn("task"),
      numberColumn("seed"),
      textColumn("state"),
      numberColumn("steps"),
      textColumn("stopped by"),
      numberColumn("best dev perplexity", "dev_perplexity"),
      numberColumn("trainable"),
      activatedColumn,
      numberColumn("tokens/s", "train_tokens_per_second"),
      textColumn("made in", "placement"),
    ],
    rows: runs.map((run, index) => runCells(run, marks[index])),
    before: [],
    notes: ["A single run's perplexity has no spread, so a better one need not be a better method."],
    context: {},
  };
};

/** Runs by themselves: a table of them, and their curves. */
export const runSection = (runs: readonly RunInput[]): ReportSection => ({
  title: "Runs",
  text: [marksGuide],
  tables: [runTable(runs)],
  figures: runFigures(
    "",
    runs.map((run) => ({ series: methodOf(run) ?? "method not known", run })),
  ),
});

interface NamedResult {
  readonly name: string;
  readonly result: ReportResult;
}

/** Results that can stand in one table: the same task, scored in the same way on as many rows. */
const comparable = (results: readonly NamedResult[]): readonly (readonly NamedResult[])[] => [
  ...groupedBy(results, ({ result: { task, protocol, total } }) => JSON.stringify([task, protocol, total])).values(),
];

const intervalCell = (interval: ReportResult["interval"]): Cell =>
  interval === null ? cellOf(none, [null, null]) : cellOf(interval.map(percent).join(" to "), interval);

const touches = (one: ReportResult["interval"], other: ReportResult["interval"]): boolean =>
  one !== null && other !== null && one[0] <= other[1] && other[0] <= one[1];

const resultTable = (results: readonly NamedResult[]): ReportTable => {
  const accuracies = results.map(({ result }) => result.accuracy);
  const marks = marksOf(accuracies, true);
  const best = results[marks.indexOf("best")]?.result.interval ?? null;
  const first = results[0]?.result;
  const levels = [first?.chance ?? null, first?.majority ?? null];
  return {
    title: `${first?.task ?? ""}: scored results`,
    columns: [
      textColumn("result"),
      textColumn("model"),
      textColumn("adapter"),
      numberColumn("accuracy"),
      { ...textColumn("95 %"), csv: ["lowest", "highest"] },
      numberColumn("rows"),
      numberColumn("unparsed"),
    ],
    rows: results.map(({ name, result }, index) => [
      textCell(name),
      textCell(result.record?.model ?? null),
      textCell(result.record === undefined ? null : (result.record.adapter ?? "none (base model)")),
      {
        ...numberCell(result.accuracy, percent),
        mark: marks[index],
        inside: marks[index] !== "best" && touches(result.interval, best),
      },
      intervalCell(result.interval),
      numberCell(result.total, grouped),
      numberCell(result.unparsed, grouped),
    ]),
    before: [
      `Scored: ${first?.protocol ?? ""}.`,
      ...(levels.some((level) => level === null)
        ? []
        : [`Chance ${percent(levels[0] ?? 0)}, always the most frequent answer ${percent(levels[1] ?? 0)}.`]),
    ],
    notes: ["95 %: Wilson's interval of the rows. Two results on the same rows are compared by milora compare."],
    context: {
      task: first?.task ?? null,
      protocol: first?.protocol ?? null,
      chance: levels[0] ?? null,
      majority: levels[1] ?? null,
    },
  };
};

/** Results of runs by themselves and of files: a table for each way of scoring. */
export const resultSection = ({ runs, results }: Pick<ReportInputs, "runs" | "results">): ReportSection => {
  const ofRuns = runs.flatMap((run) => run.results.map((result) => ({ name: run.name, result })));
  return {
    title: "Scores",
    text: [marksGuide],
    tables: comparable([...ofRuns, ...results]).map(resultTable),
    figures: [],
  };
};
