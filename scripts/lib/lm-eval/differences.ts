import { countCharacters } from "../../../ts/util/text.js";
import type { Agreement } from "./agreement.js";
import { chosenBy, differingRows, isSameText, largestDifference, upToStop } from "./compare.js";
import type { Harness } from "./harness.js";
import type { Ours } from "./ours.js";
import type { LikelihoodRecord, TextRecord } from "./records.js";

/** What explains a difference is measured with both sides. */
export interface Sides {
  readonly ours: Ours;
  readonly harness: Harness;
}

const small = (value: number): string => value.toExponential(1);

/** How far the choice that one side took lies before the one that the other took, by the harness' figures. */
const margin = (
  { harness, choices }: LikelihoodRecord,
  [left, right]: readonly [number, number],
  by: string,
): number => {
  const of = (place: number): number =>
    (harness[place] ?? Number.NaN) / (by === "byLength" ? countCharacters((choices[place] ?? "").trimStart()) : 1);
  return Math.abs(of(left) - of(right));
};

const otherChoices = (record: LikelihoodRecord): readonly string[] => {
  const [ours, harness] = [chosenBy(record, "ours"), chosenBy(record, "harness")];
  return (["bySum", "byLength"] as const)
    .filter((by) => ours[by] !== harness[by])
    .map((by) => {
      const apart = margin(record, [ours[by], harness[by]], by);
      return `${by === "bySum" ? "by sum" : "by length"} choice ${ours[by] + 1} instead of ${harness[by] + 1}, which lie ${small(apart)} apart`;
    });
};

/** Both sides once more, the row alone: what is left is not the batch's. */
const alone = async ({ of, rows }: Agreement, record: LikelihoodRecord, { ours, harness }: Sides): Promise<number> => {
  const row = rows.filter(({ index }) => index === record.index);
  const [mine] = await ours.evaluate(of, row);
  const [theirs] = await harness.likelihoods([record], 1);
  const values = (mine?.scores ?? []).map(({ logLikelihood }) => logLikelihood);
  return largestDifference({ ours: values, harness: theirs?.values ?? [] });
};

/** Both sides' difference without the white space at the prompt's end, which the harness counts to each choice. */
const movedSpace = async (record: LikelihoodRecord, { harness }: Sides): Promise<string> => {
  const prompt = record.prompt.trimEnd();
  const moved = record.prompt.slice(prompt.length);
  if (moved === "") return "prompt and choice have other tokens together, as the harness takes them, than apart";
  const [found] = await harness.likelihoods([{ prompt, choices: [moved] }], 1);
  const value = found?.values[0] ?? Number.NaN;
  const left = largestDifference({ ...record, ours: record.ours.map((of) => of + value) });
  return `the harness counts the prompt's last ${JSON.stringify(moved)} to each choice, ${value.toFixed(4)}; without it ${small(left)}`;
};

const causeOf = async (agreement: Agreement, record: LikelihoodRecord, sides: Sides): Promise<string> => {
  if (record.sameTokens.includes(false)) return movedSpace(record, sides);
  return `each computed alone: ${small(await alone(agreement, record, sides))}`;
};

/** The rows that differ in a choice or by more than the tolerance; where there are none, the one that differs most. */
const rowsToExplain = (records: readonly LikelihoodRecord[]): readonly LikelihoodRecord[] => {
  const differing = differingRows(records);
  if (differing.length > 0) return differing;
  return records.toSorted((left, right) => largestDifference(right) - largestDifference(left)).slice(0, 1);
};

/** A line for each of these rows, with the cause as it was measured. */
const likelihoodDifferences = async (agreement: Agreement, sides: Sides): Promise<readonly string[]> => {
  const lines: string[] = [];
  const records = agreement.records.filter((record) => record.kind === "likelihoods");
  for (const record of rowsToExplain(records)) {
    const largest = `log-likelihoods differ by up to ${small(largestDifference(record))}`;
    const what = [largest, ...otherChoices(record), await causeOf(agreement, record, sides)].join("; ");
    lines.push(`row ${record.index}: ${what}`);
  }
  return lines;
};

const commonLength = (left: string, right: string): number => {
  let length = 0;
  while (length < left.length && left[length] === right[length]) length += 1;
  return length;
};

const excerpt = (text: string, at: number): string => JSON.stringify(text.slice(Math.max(0, at - 20), at + 20));

const textDifference = async (record: TextRecord, stops: readonly string[], harness: Harness): Promise<string> => {
  const texts = [upToStop(record.ours, stops), record.harness] as const;
  const at = commonLength(...texts);
  const gap = await harness.gap(record.prompt, texts);
  const cause = gap === null ? "one is the other's beginning" : `the two tokens lie ${small(gap)} nats apart there`;
  return `row ${record.index}: after ${at} characters ${texts.map((text) => excerpt(text, at)).join(" and ")}; ${cause}`;
};

const textDifferences = async ({ records, stops }: Agreement, { harness }: Sides): Promise<readonly string[]> => {
  const lines: string[] = [];
  for (const record of records)
    if (record.kind === "texts" && !isSameText(record, stops))
      lines.push(await textDifference(record, stops, harness));
  return lines;
};

/** Every difference of a case, a line each, with its cause; where there is none, the largest of those that don't count. */
export const explainedDifferences = async (agreement: Agreement, sides: Sides): Promise<readonly string[]> =>
  agreement.of.scorer === "generate" ? textDifferences(agreement, sides) : likelihoodDifferences(agreement, sides);
