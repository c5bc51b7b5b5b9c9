import { cellOf, none, numberCell, numberColumn, points, probability, textCell, textColumn } from "./cells.js";
import type { Cell, ReportTable } from "./report-model.js";
import type { PairedRow, PairedSeed } from "./sweep-paired.js";
import type { SweepRow, SweepTable } from "./sweep-table.js";

const seedText = ({ seed, difference, interval, p }: PairedSeed): string =>
  `${seed}: ${points(difference)} (${interval.map(points).join(" to ")}, p ${probability(p)})`;

const meanText = ({ seeds, difference, spread }: PairedRow): string =>
  seeds.length < 2 ? points(difference) : `${points(difference)} (${spread.map(points).join(" to ")})`;

const rowCells = (name: string, paired: PairedRow): readonly Cell[] => [
  textCell(name),
  cellOf(paired.seeds.map(seedText).join("; ") || none, [
    paired.seeds.map(({ seed, difference }) => `${seed}=${difference}`).join(" "),
  ]),
  cellOf(meanText(paired), [paired.difference, ...paired.spread]),
  numberCell(paired.onlyMethod, String),
  numberCell(paired.onlyReference, String),
  numberCell(paired.p, probability),
  numberCell(paired.adjustedP, probability),
  textCell(paired.verdict),
];

/** A table's methods against its reference, row by row; nothing where nothing was compared. */
export const pairedTable = ({ reference, rows, group, task }: SweepTable): ReportTable | undefined => {
  const compared = rows.flatMap(({ row, paired }) => (paired === null ? [] : [rowCells(row, paired)]));
  if (compared.length === 0 || reference === null) return undefined;
  return {
    title: `Against ${reference}, row by row`,
    columns: [
      textColumn("method"),
      textColumn("difference by seed", "paired_by_seed"),
      { ...textColumn("mean (lowest to highest)"), csv: ["paired_difference", "paired_lowest", "paired_highest"] },
      numberColumn("only it right", "only_method"),
      numberColumn("only the reference right", "only_reference"),
      numberColumn("p", "paired_p"),
      numberColumn("p of all", "paired_adjusted_p"),
      textColumn("it is", "paired_verdict"),
    ],
    rows: compared,
    before: [],
    notes: [],
    context: { group, task, reference },
  };
};

const guide =
  "Row by row: differences of accuracy in percentage points between runs of one seed on the same rows, with Newcombe's " +
  "95 % interval and McNemar's exact p for each seed. p: the exact sign-flip test on each row's sum over the seeds, so " +
  "that a row counts once however many seeds answered it; it speaks of these trained models on such rows. p of all: " +
  "after Holm, for all methods of a table. A method is called better or worse where that is below 0.05 and every seed " +
  "has the same sign; all else is inside the noise.";

/** How to read the paired comparisons, where there are any. */
export const pairedGuide = (tables: readonly SweepTable[]): readonly string[] =>
  tables.some(({ rows }) => rows.some(({ paired }) => paired !== null)) ? [guide] : [];

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
