import { z } from "zod";
import type { Agreement } from "./agreement.js";
import { chosenBy } from "./compare.js";

/** What one row counts by milora and by a metric of the harness' own task. */
export interface Outcome {
  readonly index: number;
  readonly expected: string;
  readonly ours: { readonly read: string | null; readonly correct: boolean };
  readonly harness: { readonly read: string; readonly correct: boolean };
}

/** A metric of the harness' own task beside milora's of the same meaning, row by row. */
export interface ComparedMetric {
  /** The harness' name, such as `acc_norm` or `exact_match, strict-match`. */
  readonly name: string;
  readonly outcomes: readonly Outcome[];
}

const reading = z.string().catch("");

/** milora's counterpart of a metric, in the words of its results. */
const ways = { acc: "bySum", acc_norm: "byLength" } as const;

const choiceOutcomes = (agreement: Agreement, metric: keyof typeof ways): readonly Outcome[] => {
  const { of, rows, records, metrics = [] } = agreement;
  return rows.flatMap(({ index, example, rendered: { choiceLabels = [] } }, place) => {
    const record = records[place];
    const value = metrics[place]?.["none"]?.metrics[metric];
    if (record?.kind !== "likelihoods" || value === undefined) return [];
    const expected = of.task.correct(example);
    const label = (side: "ours" | "harness"): string => choiceLabels[chosenBy(record, side)[ways[metric]]] ?? "";
    const read = label("ours");
    return {
      index,
      expected,
      ours: { read, correct: read === expected },
      harness: { read: label("harness"), correct: value === 1 },
    };
  });
};

const textOutcomes = (agreement: Agreement, filter: string): readonly Outcome[] => {
  const { of, rows, records, metrics = [] } = agreement;
  return rows.flatMap(({ index, example }, place) => {
    const record = records[place];
    const found = metrics[place]?.[filter];
    if (record?.kind !== "texts" || found === undefined) return [];
    const expected = of.task.correct(example);
    const { answer: read } = of.task.read(record.ours, example, "robust", of.template);
    return {
      index,
      expected,
      ours: { read, correct: read === expected },
      harness: { read: reading.parse(found.readings[0]), correct: found.metrics["exact_match"] === 1 },
    };
  });
};

/** The metrics of the harness' own task that milora has too; none where it asks in other words. */
export const comparedMetrics = (agreement: Agreement): readonly ComparedMetric[] => {
  const compared =
    agreement.of.scorer === "generate"
      ? ["strict-match", "flexible-extract"].map((filter) => ({
          name: `exact_match, ${filter}`,
          outcomes: textOutcomes(agreement, filter),
        }))
      : (["acc", "acc_norm"] as const).map((name) => ({ name, outcomes: choiceOutcomes(agreement, name) }));
  return compared.filter(({ outcomes }) => outcomes.length > 0);
};

/** The rows that are right on one side only, a line each. */
export const otherOutcomes = ({ name, outcomes }: ComparedMetric): readonly string[] =>
  outcomes
    .filter(({ ours, harness }) => ours.correct !== harness.correct)
    .map(
      ({ index, expected, ours, harness }) =>
        `row ${index}: ${expected} is right; milora reads ${ours.read ?? "nothing"}, ${name} ${harness.read || "nothing"}`,
    );
