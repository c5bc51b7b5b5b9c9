import { mcNemarTest } from "../util/paired.js";
import { counted } from "../util/text.js";
import { cellOf, marksGuide, marksOf, none, numberCell, numberColumn, probability, textCell, textColumn } from "./cells.js"; // prettier-ignore
import { verdictOf } from "./compare-results.js";
import { groupedBars } from "./figures/grouped-bars.js";
import { tip } from "./figures/series.js";
import type { Cell, ReportFigure, ReportSection, ReportTable } from "./report-model.js";
import type { JudgingInput } from "./sources/read-judging.js";

type MethodRatings = JudgingInput["methods"][number];
type PairRatings = JudgingInput["pairs"][number];
type Interval = MethodRatings["interval"];

const score = (value: number): string => value.toFixed(2);

const namesOf = (records: readonly object[]): readonly string[] => [...new Set(records.flatMap(Object.keys))];

/** A column of mean scores, the best marked. */
interface ScoreColumn {
  readonly title: string;
  readonly values: readonly (number | null)[];
}

const scoreCells = ({ values }: ScoreColumn): readonly Cell[] => {
  const marks = marksOf(values, true);
  return values.map((value, index) => ({ ...numberCell(value, score), mark: marks[index] }));
};

const titled = (turns: readonly string[], categories: readonly string[]) => [
  ...turns.map((name) => ({ title: `turn ${name}`, part: "turns" as const, name })),
  ...categories.map((name) => ({ title: name, part: "categories" as const, name })),
];

const intervalCell = (interval: Interval): Cell =>
  interval === null ? cellOf(none, [null, null]) : cellOf(interval.map(score).join(" to "), interval);

const touches = (one: Interval, other: Interval): boolean =>
  one !== null && other !== null && one[0] <= other[1] && other[0] <= one[1];

/** Means of all answers; what can't be told from the best by its interval is marked so. */
const meanCells = (methods: readonly MethodRatings[]): readonly Cell[] => {
  const cells = scoreCells({ title: "mean", values: methods.map(({ overall }) => overall.mean) });
  const best = methods[cells.findIndex(({ mark }) => mark === "best")]?.interval ?? null;
  return cells.map((cell, index) => ({
    ...cell,
    inside: cell.mark !== "best" && touches(methods[index]?.interval ?? null, best),
  }));
};

const contextOf = ({ task, judgeModel, protocol }: JudgingInput): ReportTable["context"] => ({
  task,
  judge: judgeModel,
  protocol,
});

const tableOf = (judging: JudgingInput, title: string, rest: Pick<ReportTable, "columns" | "rows" | "notes">) => ({
  title: `${title}, ${judging.name}`,
  before: [`Judged: ${judging.protocol}.`],
  context: contextOf(judging),
  ...rest,
});

const singleTable = (judging: JudgingInput): ReportTable => {
  const { task, methods, missing } = judging;
  const parts = titled(
    namesOf(methods.map(({ turns }) => turns)),
    namesOf(methods.map(({ categories }) => categories)),
  );
  const columns = parts.map(({ title, part, name }): ScoreColumn => ({
    title,
    values: methods.map((method) => method[part][name]?.mean ?? null),
  }));
  const cells = columns.map(scoreCells);
  const means = meanCells(methods);
  return tableOf(judging, `${task}: mean scores of 10`, {
    columns: [
      textColumn("method"),
      numberColumn("mean"),
      { ...textColumn("95 %"), csv: ["lowest", "highest"] },
      ...columns.map(({ title }) => numberColumn(title)),
      numberColumn("answers scored", "scored"),
      numberColumn("without a score", "unscored"),
    ],
    rows: methods.map((method, index) => [
      textCell(method.label),
      means[index] ?? textCell(null),
      intervalCell(method.interval),
      ...cells.map((column) => column[index] ?? textCell(null)),
      numberCell(method.overall.scored, String),
      numberCell(method.overall.unscored, String),
    ]),
    notes: [
      "95 %: the interval of the mean over the questions. Turns and categories are means of fewer answers, so their differences show less than that of the mean.",
      ...(missing.judgements === 0 ? [] : [`${counted(missing.judgements, "judgement")} without a rating: missing, not 0.`]),
    ],
  }); // prettier-ignore
};

/** What the answers that one of two methods won say: as often won by either, were the two alike. */
const pairVerdict = ({ methods: [first, second], overall }: PairRatings): string => {
  const [won, lost] = [overall.wins[second] ?? 0, overall.wins[first] ?? 0];
  const { p } = mcNemarTest({ onlyFirst: lost, onlySecond: won });
  const verdict = verdictOf(won - lost, p);
  return `${second} won ${won} answers, ${first} ${lost}, ${counted(overall.ties, "tie")}: ${second} is ${verdict} (exact sign test of the answers that one won, p = ${probability(p)}).`;
};

const pairTable = (judging: JudgingInput, pair: PairRatings): ReportTable => {
  const { methods, overall, positions } = pair;
  const parts = titled(Object.keys(pair.turns), Object.keys(pair.categories));
  const columns: readonly ScoreColumn[] = [
    { title: "mean", values: methods.map((label) => overall.means[label] ?? null) },
    ...parts.map(({ title, part, name }) => ({
      title,
      values: methods.map((label) => pair[part][name]?.means[label] ?? null),
    })),
  ];
  const cells = columns.map(scoreCells);
  const position = (value: number | null): string => (value === null ? none : score(value));
  return tableOf(judging, `${judging.task}: ${methods.join(" against ")}`, {
    columns: [textColumn("method"), ...columns.map(({ title }) => numberColumn(title)), numberColumn("answers won", "won")],
    rows: methods.map((label, index) => [
      textCell(label),
      ...cells.map((column) => column[index] ?? textCell(null)),
      numberCell(overall.wins[label], String),
    ]),
    notes: [
      pairVerdict(pair),
      `Mean rating by position: first ${position(positions.first)}, second ${position(positions.second)}; ${overall.unscored} of ${overall.scored + overall.unscored} answers without a score.`,
    ],
  }); // prettier-ignore
};

const singleFigure = ({ task, name, methods }: JudgingInput): ReportFigure =>
  groupedBars({
    title: `${task}: scores by category, ${name}`,
    caption: "Mean score of a category's answers; a category has few of them, so small differences are noise.",
    rows: methods.flatMap(({ label, categories }) =>
      Object.entries(categories).map(([category, { mean, scored }]) => ({
        method: label,
        category,
        score: mean,
        scored,
      })),
    ),
    x: "category",
    series: "method",
    y: { field: "score", title: "mean score of 10", scale: { domain: [0, 10] } },
    tooltip: [
      tip("method", "method"),
      tip("category", "category"),
      tip("score", "mean score", ".2f"),
      tip("scored", "answers with a score"),
    ],
  });

/** What a judge said of saved answers: a table for single answers, one for each pair. */
export const judgingSection = (judgings: readonly JudgingInput[]): ReportSection => ({
  title: "Judged answers",
  text: [`${marksGuide} Ratings by other judges or prompts are not comparable.`],
  tables: judgings.flatMap((judging) => [
    ...(judging.methods.length === 0 ? [] : [singleTable(judging)]),
    ...judging.pairs.map((pair) => pairTable(judging, pair)),
  ]),
  figures: judgings.filter(({ methods }) => methods.length > 0).map(singleFigure),
});
