import { z } from "zod";
import { compareResultFiles } from "../../client/offline.js";
import type { ResultComparison } from "../../report/compare-results.js";
import { parseWith } from "../../spec/parse.js";
import { commaList } from "../comma-list.js";
import { percent, printResult, table, type CommandContext } from "../output.js";

const optionsSchema = z.object({
  tasks: commaList.optional(),
});

/** Percentage points with their sign. */
const points = (difference: number): string => `${difference > 0 ? "+" : ""}${(100 * difference).toFixed(1)}`;

const madeWith = (name: string, place: string, { record }: ResultComparison["first"]): string => {
  if (record === null) return `${name}: ${place}`;
  const { model, adapter, dtype, device, date } = record;
  return `${name}: ${place} (${adapter ?? "the base model"} on ${model}, ${dtype} on ${device}, ${date.slice(0, 10)})`;
};

const row = (comparison: ResultComparison): readonly string[] => {
  const { task, first, second, difference, interval, onlyFirst, onlySecond, p, midP, verdict } = comparison;
  return [
    task,
    percent(first.accuracy),
    percent(second.accuracy),
    points(difference),
    interval.map(points).join(" to "),
    String(onlyFirst),
    String(onlySecond),
    p.toPrecision(3),
    midP.toPrecision(3),
    verdict,
  ];
};

/** `milora compare`: two results on the same rows; the second against the first. */
export const compare = async (
  context: CommandContext,
  raw: object,
  first: string,
  [second = ""]: readonly string[],
): Promise<void> => {
  const { tasks } = parseWith(optionsSchema, raw, { what: "The command" });
  const comparisons = await compareResultFiles({ first, second, tasks });
  printResult(context, { first, second, comparisons }, () => [
    ...table([
      ["task", "first", "second", "difference", "95 %", "only first", "only second", "p", "mid-p", "the second is"],
      ...comparisons.map(row),
    ]),
    ...comparisons
      .slice(0, 1)
      .flatMap((of) => [madeWith("first", first, of.first), madeWith("second", second, of.second)]),
    ...comparisons.map(({ task, protocol }) => `${task}: ${protocol}`),
    "p: McNemar's exact test; difference in percentage points, with Newcombe's 95 % interval for paired shares.",
  ]);
};
