import { createInterface } from "node:readline";
import { z } from "zod";
import { estimateText, judge, type CostEstimate, type Judging } from "../../client/judging.js";
import { applyAssignments } from "../../client/load-spec.js";
import { MiloraError } from "../../errors.js";
import { parseWith } from "../../spec/parse.js";
import { createProgress } from "../../util/progress.js";
import { printResult, table, tell, type CommandContext } from "../output.js";

const optionsSchema = z.object({
  endpoint: z.string(),
  judgeModel: z.string(),
  mode: z.enum(["single", "pairwise"]).optional(),
  judgements: z.number().optional(),
  apiKeyEnv: z.string().optional(),
  set: z.array(z.string()).default([]),
  concurrency: z.number().optional(),
  retries: z.number().optional(),
  timeout: z.number().optional(),
  priceIn: z.number().optional(),
  priceOut: z.number().optional(),
  budget: z.number().optional(),
  out: z.string().optional(),
  yes: z.boolean().default(false),
});

/** Asks on the terminal; the end of the input, or Ctrl-C, is a no. */
const ask = async (question: string, signal: AbortSignal): Promise<boolean> => {
  process.stderr.write(question);
  // A terminal's own line editing would take Ctrl-C for itself.
  const lines = createInterface({ input: process.stdin, terminal: false, signal });
  try {
    for await (const line of lines) return /^\s*y(es)?\s*$/i.test(line);
    return false;
  } finally {
    // A terminal that was read from keeps the program alive.
    process.stdin.unref();
  }
};

/** Shows the cost, and asks whether to go on; a program has to say so beforehand, by `--yes`. */
const confirmation =
  (yes: boolean, signal: AbortSignal) =>
  async (estimate: CostEstimate): Promise<boolean> => {
    const cost = estimateText(estimate);
    tell(`The judge will get ${cost}. Retries may add to it.`);
    if (yes) return true;
    if (process.stdin.isTTY) return ask("Go on? [y/N] ", signal);
    throw new MiloraError("input/invalid-spec", `Nothing was asked of the judge; it would get ${cost}.`, {
      path: "yes",
      found: cost,
      hint: "Say --yes to spend this.",
    });
  };

const score = (value: number | null | undefined): string =>
  value === null || value === undefined ? "-" : value.toFixed(2);

const union = (records: readonly object[]): readonly string[] => [...new Set(records.flatMap(Object.keys))];

const methodLines = (methods: NonNullable<Judging["methods"]>): readonly string[] => {
  const turns = union(methods.map((method) => method.turns));
  const categories = union(methods.map((method) => method.categories));
  return [
    ...table([
      ["method", "mean", ...turns.map((turn) => `turn ${turn}`), "scored", "missing"],
      ...methods.map(({ label, overall, turns: by }) => [
        label,
        score(overall.mean),
        ...turns.map((turn) => score(by[turn]?.mean)),
        `${overall.scored}/${overall.scored + overall.unscored}`,
        String(overall.missing),
      ]),
    ]),
    "",
    ...table([
      ["category", ...methods.map(({ label }) => label)],
      ...categories.map((category) => [category, ...methods.map(({ categories: by }) => score(by[category]?.mean))]),
    ]),
  ];
};

type PairRatings = NonNullable<Judging["pairs"]>[number];

const pairLines = ({ methods, overall, turns, categories, positions }: PairRatings): readonly string[] => {
  const parts = Object.entries({
    mean: overall,
    ...Object.fromEntries(Object.entries(turns).map(([turn, part]) => [`turn ${turn}`, part])),
    ...categories,
  });
  return [
    ...table([
      ["", ...methods, "ties", "scored", "left out"],
      ...parts.map(([name, part]) => [
        name,
        ...methods.map((label) => `${score(part.means[label])} (${part.wins[label] ?? 0} won)`),
        String(part.ties),
        `${part.scored}/${part.scored + part.unscored}`,
        String(part.missing + part.unpaired),
      ]),
    ]),
    `mean rating by position: first ${score(positions.first)}, second ${score(positions.second)}`,
  ];
};

const resultLines = (judging: Judging): readonly string[] => {
  const { missing, reviewsFile, spent, protocol } = judging;
  const reasons = Object.entries(missing.reasons).map(([reason, count]) => `${count} ${reason}`);
  return [
    ...(judging.methods === undefined ? [] : methodLines(judging.methods)),
    ...(judging.pairs ?? []).flatMap(pairLines),
    protocol,
    ...(reasons.length === 0 ? [] : [`missing: ${reasons.join(", ")}`]),
    `asked ${spent.requests} times, ${spent.inputTokens} + ${spent.outputTokens} tokens` +
      (spent.money === null ? "" : `, ${spent.money.toFixed(4)} in the prices' currency`),
    `every review: ${reviewsFile}`,
  ];
};

const anyScore = ({ methods = [], pairs = [] }: Judging): boolean =>
  [...methods, ...pairs].some(({ overall }) => overall.scored > 0);

/** `milora judge`: ratings of saved answers by a model; the exit code is 1 where no answer got one. */
export const judgeCommand = async (
  context: CommandContext,
  raw: object,
  first: string,
  others: readonly string[],
): Promise<number> => {
  const { set, yes, ...options } = parseWith(optionsSchema, raw, { what: "The command" });
  const request = parseWith(z.record(z.string(), z.json()), applyAssignments({}, set), { what: "--set" });
  const progress: { line?: ReturnType<typeof createProgress> } = {};
  const onProgress = (done: number, total: number, missing: number): void => {
    progress.line ??= createProgress({ stream: process.stderr, label: "judgements", total, unit: "judgement" });
    progress.line.update(done, missing === 0 ? undefined : `${missing} missing`);
  };
  try {
    const judging = await judge(
      { ...options, request, results: [first, ...others] },
      { confirm: confirmation(yes, context.signal), signal: context.signal, onProgress },
    );
    progress.line?.close();
    const { reviews: _reviews, ...figures } = judging;
    printResult(context, figures, () => resultLines(judging));
    return anyScore(judging) ? 0 : 1;
  } finally {
    progress.line?.close();
  }
};
