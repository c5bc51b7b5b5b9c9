import type { PairedRow, PairedSeed } from "./sweep-paired.js";
import type { SweepRow, SweepTable } from "./sweep-table.js";

/** Percentage points with their sign. */
const points = (difference: number): string => `${difference > 0 ? "+" : ""}${(100 * difference).toFixed(1)}`;

const probability = (p: number): string => (p < 0.0001 ? "< 0.0001" : p.toFixed(4));

const seedText = ({ seed, difference, interval, p }: PairedSeed): string =>
  `${seed}: ${points(difference)} (${interval.map(points).join(" to ")}, p ${probability(p)})`;

const rowLine = (name: string, paired: PairedRow): string => {
  const { seeds, difference, spread, onlyReference, onlyMethod, p, adjustedP, verdict } = paired;
  const cells = [
    name.replaceAll("|", String.raw`\|`),
    seeds.map(seedText).join("; "),
    seeds.length < 2 ? points(difference) : `${points(difference)} (${spread.map(points).join(" to ")})`,
    String(onlyMethod),
    String(onlyReference),
    probability(p),
    probability(adjustedP),
    verdict,
  ];
  return `| ${cells.join(" | ")} |`;
};

/** Markdown of a table's paired comparisons; nothing where there are none. */
export const pairedLines = ({ reference, rows }: SweepTable): readonly string[] => {
  const lines = rows.flatMap(({ row, paired }) => (paired === null ? [] : [rowLine(row, paired)]));
  if (lines.length === 0 || reference === null) return [];
  return [
    `### Against ${reference}, row by row`,
    "",
    "| method | difference by seed | mean (lowest to highest) | only it right | only the reference right | p | p of all | it is |",
    "| --- | --- | --- | ---: | ---: | ---: | ---: | --- |",
    ...lines,
    "",
  ];
};

const guide =
  "Row by row: differences of accuracy in percentage points between runs of one seed on the same rows, with Newcombe's " +
  "95 % interval and McNemar's exact p for each seed. p: the exact sign-flip test on each row's sum over the seeds, so " +
  "that a row counts once however many seeds answered it; it speaks of these trained models on such rows. p of all: " +
  "after Holm, for all methods of a table. A method is called better or worse where that is below 0.05 and every seed " +
  "has the same sign; all else is inside the noise.";

/** How to read the paired comparisons, where there are any. */
export const pairedGuide = (tables: readonly SweepTable[]): readonly string[] =>
  tables.some(({ rows }) => rows.some(({ paired }) => paired !== null)) ? ["", guide] : [];

export const pairedCsvColumns = [
  "reference",
  "paired_difference",
  "paired_lowest",
  "paired_highest",
  "only_method",
  "only_reference",
  "paired_p",
  "paired_mid_p",
  "paired_adjusted_p",
  "paired_verdict",
] as const;

/** The cells of a row for {@link pairedCsvColumns}; empty where nothing was compared. */
export const pairedCsvValues = ({ paired }: SweepRow): readonly (string | number | null)[] =>
  paired === null
    ? pairedCsvColumns.map(() => null)
    : [
        paired.reference,
        paired.difference,
        ...paired.spread,
        paired.onlyMethod,
        paired.onlyReference,
        paired.p,
        paired.midP,
        paired.adjustedP,
        paired.verdict,
      ];
