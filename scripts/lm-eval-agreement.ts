/**
 * Row by row, how milora's scores agree with lm-evaluation-harness's: the same prompts and choices, both in float32 on
 * the CPU. A base model is scored by the harness' own model `hf`, an adapter by the model `milora`.
 *
 * `tsx scripts/lm-eval-agreement.ts [--data ../shared/data] [--model smollm2-135m] [--adapter <dir>] [--rows 200]
 * [--tasks arc-easy,gsm8k] [--max-new-tokens 256] [--out runs/lm-eval-agreement]` prints Markdown tables. What each row
 * gave is kept in `--out`: the same command goes on where it was stopped.
 */
import { parseArgs } from "node:util";
import { resolve } from "node:path";
import { ensureEnvironment } from "../ts/bridge/environment/index.js";
import { MiloraError } from "../ts/errors.js";
import { type Agreement, compareCase } from "./lib/lm-eval/agreement.js";
import { agreementCases } from "./lib/lm-eval/cases.js";
import { isSameText, likelihoodFigures, tolerance } from "./lib/lm-eval/compare.js";
import { explainedDifferences } from "./lib/lm-eval/differences.js";
import { openHarness } from "./lib/lm-eval/harness.js";
import { comparedMetrics, otherOutcomes } from "./lib/lm-eval/outcomes.js";
import { openOurs } from "./lib/lm-eval/ours.js";

const { values } = parseArgs({
  options: {
    data: { type: "string", default: "../shared/data" },
    model: { type: "string", default: "smollm2-135m" },
    adapter: { type: "string" },
    rows: { type: "string", default: "200" },
    tasks: { type: "string" },
    "max-new-tokens": { type: "string", default: "256" },
    out: { type: "string", default: "runs/lm-eval-agreement" },
  },
});

const print = (...lines: readonly string[]): boolean =>
  process.stdout.write(lines.map((line) => `${line}\n`).join(""));

const printTable = (header: readonly string[], rows: readonly (readonly (string | number)[])[]): void => {
  if (rows.length === 0) return;
  const line = (cells: readonly (string | number)[]): string => `| ${cells.join(" | ")} |`;
  print("", line(header), line(header.map((_, place) => (place === 0 ? "---" : "---:"))), ...rows.map(line));
};

const printFigures = (agreements: readonly Agreement[]): void => {
  printTable(
    [
      "task",
      "rows",
      "same choice by sum",
      "same by length",
      "largest difference",
      `rows above ${tolerance}`,
      "choices with other tokens",
    ],
    agreements
      .filter(({ of }) => of.scorer === "loglik")
      .map(({ of, records }) => {
        const figures = likelihoodFigures(records.filter((record) => record.kind === "likelihoods"));
        const { rows, sameBySum, sameByLength, largest, above, otherTokens } = figures;
        return [of.task.name, rows, sameBySum, sameByLength, largest.toExponential(1), above, otherTokens];
      }),
  );
  printTable(
    ["task", "rows", "same text up to a stop string"],
    agreements
      .filter(({ of }) => of.scorer === "generate")
      .map(({ of, records, stops }) => {
        const texts = records.filter((record) => record.kind === "texts");
        return [of.task.name, texts.length, texts.filter((record) => isSameText(record, stops)).length];
      }),
  );
};

const printTasks = (agreements: readonly Agreement[]): void => {
  printTable(
    ["task", "the harness' task", "rows", "asked in the same words", "as its YAML file stands"],
    agreements.flatMap(({ of, words }) =>
      words === undefined ? [] : [[of.task.name, of.harness?.name ?? "", words.rows, words.same, words.sameUnchanged]],
    ),
  );
  printTable(
    ["task", "metric", "milora", "harness", "rows right on one side only"],
    agreements.flatMap((agreement) =>
      comparedMetrics(agreement).map((metric) => {
        const right = (side: "ours" | "harness"): number =>
          metric.outcomes.filter((outcome) => outcome[side].correct).length;
        return [agreement.of.task.name, metric.name, right("ours"), right("harness"), otherOutcomes(metric).length];
      }),
    ),
  );
};

const printList = (title: string, lines: readonly string[]): void => {
  if (lines.length > 0) print("", `${title}:`, "", ...lines.map((line) => `- ${line}`));
};

const main = async (): Promise<void> => {
  const names = values.tasks?.split(",");
  const { python } = await ensureEnvironment({ extras: ["demo", "dev"] });
  const { model, adapter, out } = values;
  await using ours = await openOurs({ python, model, adapter: adapter && resolve(adapter) });
  await using harness = openHarness({ python, base: ours.base, adapter: adapter && resolve(adapter) });
  const agreements: Agreement[] = [];
  for (const of of agreementCases) {
    if (names !== undefined && !names.includes(of.task.name)) continue;
    try {
      agreements.push(
        await compareCase(of, {
          ours,
          harness,
          dir: resolve(values.data),
          limit: Number(values.rows),
          maxNewTokens: Number(values["max-new-tokens"]),
          out,
          identity: { model, adapter },
          onProgress: (task, done, total) => process.stderr.write(`${task}: row ${done} of ${total}\n`),
        }),
      );
    } catch (error) {
      if (!MiloraError.isInstance(error) || error.code !== "input/missing-file") throw error;
      print(`${of.task.name} was left out: ${error.message}`);
    }
  }
  printFigures(agreements);
  printTasks(agreements);
  for (const agreement of agreements) {
    const { name } = agreement.of.task;
    const { other } = agreement.words ?? {};
    if (other !== undefined)
      printList(`${name}, asked in other words`, [`milora ${other.ours}`, `harness ${other.harness}`]);
    printList(`${name}, differences`, await explainedDifferences(agreement, { ours, harness }));
    for (const metric of comparedMetrics(agreement))
      printList(`${name}, right on one side only by ${metric.name}`, otherOutcomes(metric));
  }
};

await main();
