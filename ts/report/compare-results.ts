import { MiloraError } from "../errors.js";
import type { ResultRecord } from "../runs/result-record.js";
import { mcNemarTest, pairedInterval, type PairedCounts, type PairedTest } from "../util/paired.js";
import { counted, shown } from "../util/text.js";

/** What a comparison needs of a row: what was asked, what was right, and whether it was said. */
interface ComparableRow {
  /** Its index in the split. */
  readonly index: number;
  /** What was asked. */
  readonly prompt: string;
  /** The right answer. */
  readonly expected: string;
  /** Whether it was given. */
  readonly correct: boolean;
}

/** What a comparison needs of a result; an `EvaluationResult` has it. */
export interface ComparableResult {
  /** Name of the task. */
  readonly task: string;
  /** Version of the task. */
  readonly version: number;
  /** The split that the rows are from. */
  readonly split: string;
  /** How answers came about. */
  readonly scorer: string;
  /** The template that asked. */
  readonly template: string;
  /** The checksum of the template's text. */
  readonly templateHash: string;
  /** One line that names all that decides the score. */
  readonly protocol: string;
  /** Null where the answers are to be judged. */
  readonly accuracy: number | null;
  /** Outputs from which no answer could be read. */
  readonly unparsed: number;
  /** What it was made with. */
  readonly record?: ResultRecord | undefined;
  /** Every row that was scored. */
  readonly rows: readonly ComparableRow[];
}

/** One side of a comparison. */
export interface ComparedSide {
  /** Share of the rows that were answered right. */
  readonly accuracy: number;
  /** Rows that were answered right. */
  readonly correct: number;
  /** Outputs from which no answer could be read. */
  readonly unparsed: number;
  /** What it was made with; null for a file of an older version. */
  readonly record: ResultRecord | null;
}

/** How the second side lies to the first where chance alone is the other explanation. */
export type Verdict = "better" | "worse" | "inside the noise";

/** Two results on the same rows; `p` and `midP` are those of McNemar's exact test. */
export interface ResultComparison extends PairedCounts, PairedTest {
  /** Name of the task. */
  readonly task: string;
  /** How both were scored, in one line. */
  readonly protocol: string;
  /** Rows that both scored. */
  readonly total: number;
  /** The first result. */
  readonly first: ComparedSide;
  /** The second result. */
  readonly second: ComparedSide;
  /** The second accuracy minus the first. */
  readonly difference: number;
  /** Newcombe's 95 % interval of the difference. */
  readonly interval: readonly [number, number];
  /** What the second is to the first, by the exact `p` at 5 %. */
  readonly verdict: Verdict;
}

/** The level of every test here. */
const level = 0.05;

/** What a difference with this p-value shows. */
export const verdictOf = (difference: number, p: number): Verdict =>
  p >= level || difference === 0 ? "inside the noise" : difference > 0 ? "better" : "worse";

const byIndex = (rows: readonly ComparableRow[]): readonly ComparableRow[] =>
  rows.toSorted((left, right) => left.index - right.index);

const pairsOf = (first: ComparableResult, second: ComparableResult) => {
  const others = byIndex(second.rows);
  return byIndex(first.rows).flatMap((row, position) =>
    others.slice(position, position + 1).map((other) => ({ first: row, second: other })),
  );
};

type RowPair = ReturnType<typeof pairsOf>[number];

const rowDifferences = (first: ComparableResult, second: ComparableResult): readonly string[] => {
  if (first.rows.length !== second.rows.length)
    return [`rows: ${first.rows.length} in the first, ${second.rows.length} in the second`];
  const pairs = pairsOf(first, second);
  const told = (what: string, differ: (pair: RowPair) => boolean, show: (row: ComparableRow) => unknown): string[] => {
    const different = pairs.filter(differ);
    return different.slice(0, 1).map((pair) => {
      const count = counted(different.length, "row differs", "rows differ");
      const values = `${shown(show(pair.first))} in the first, ${shown(show(pair.second))} in the second`;
      return `${what}: ${count}, at row ${pair.first.index} ${values}`;
    });
  };
  const moved = told(
    "rows",
    (pair) => pair.first.index !== pair.second.index,
    ({ index }) => index,
  );
  if (moved.length > 0) return moved;
  return [
    ...told(
      "prompts",
      (pair) => pair.first.prompt !== pair.second.prompt,
      ({ prompt }) => prompt,
    ),
    ...told(
      "expected answers",
      (pair) => pair.first.expected !== pair.second.expected,
      ({ expected }) => expected,
    ),
  ];
};

/** The parts of two protocol lines that are not the same. */
const protocolDifferences = (first: string, second: string): readonly string[] => {
  const [parts, others] = [first.split("; "), second.split("; ")];
  if (parts.length !== others.length) return [`protocol: ${shown(first, 300)} / ${shown(second, 300)}`];
  return parts.flatMap((part, index) => {
    const other = others[index] ?? "";
    return part === other ? [] : [`protocol: "${part}" in the first, "${other}" in the second`];
  });
};

const comparedFields = ["task", "version", "split", "scorer", "template", "templateHash"] as const;

/**
 * All in which two results differ that decides a score: task, version, split, scorer, template, the protocol's line
 * (reader, beams, tokens, …), rows, prompts, expected answers. Empty where a comparison is fair.
 */
export const resultDifferences = (first: ComparableResult, second: ComparableResult): readonly string[] => [
  ...comparedFields.flatMap((name) =>
    first[name] === second[name]
      ? []
      : [`${name}: ${shown(first[name])} in the first, ${shown(second[name])} in the second`],
  ),
  ...protocolDifferences(first.protocol, second.protocol),
  ...rowDifferences(first, second),
];

const sideOf = ({ unparsed, record, rows }: ComparableResult): ComparedSide => {
  const correct = rows.filter((row) => row.correct).length;
  return { accuracy: correct / rows.length, correct, unparsed, record: record ?? null };
};

const checkScored = (result: ComparableResult, which: string): void => {
  if (result.accuracy !== null && result.rows.length > 0) return;
  const found = result.accuracy === null ? "answers that are to be judged" : "no rows";
  throw new MiloraError("input/invalid-spec", `The ${which} result of ${result.task} has no score: found ${found}.`, {
    path: "accuracy",
    found,
    allowed: "results with an automatic score",
    hint: "Judged answers are compared by their judgements, not row by row as right or wrong.",
  });
};

const countPairs = (pairs: readonly RowPair[]): PairedCounts => {
  const count = (first: boolean, second: boolean): number =>
    pairs.filter((pair) => pair.first.correct === first && pair.second.correct === second).length;
  return {
    both: count(true, true),
    onlyFirst: count(true, false),
    onlySecond: count(false, true),
    neither: count(false, false),
  };
};

/**
 * Compares two results row by row: who was right alone, McNemar's exact test, and the difference with its interval. For
 * the scorer `loglik`, by its normalised choice.
 * Errors: `input/invalid-spec` where a result has no score, or where the two were not made in the same way on the same
 * rows, with all differences as `problems`.
 */
export const compareResults = (first: ComparableResult, second: ComparableResult): ResultComparison => {
  checkScored(first, "first");
  checkScored(second, "second");
  const problems = resultDifferences(first, second);
  if (problems.length > 0) {
    const lines = problems.map((line) => `\n  - ${line}`).join("");
    throw new MiloraError("input/invalid-spec", `Two results of ${first.task} can't be compared; they differ in${lines}`, {
      problems,
      allowed: "results of one protocol on the same rows",
      hint: "Score both in the same way: the same tasks, scorer, template, reader, beams and limit.",
    }); // prettier-ignore
  }
  const counts = countPairs(pairsOf(first, second));
  const test = mcNemarTest(counts);
  const difference = (counts.onlySecond - counts.onlyFirst) / first.rows.length;
  return {
    task: first.task,
    protocol: first.protocol,
    total: first.rows.length,
    first: sideOf(first),
    second: sideOf(second),
    ...counts,
    difference,
    interval: pairedInterval(counts),
    ...test,
    verdict: verdictOf(difference, test.p),
  };
};
