import { z } from "zod";
import { storedResultSchema } from "../../runs/stored-results.js";
import { parseWith } from "../../spec/parse.js";
import { shortHash } from "../../util/records.js";
import { wilsonInterval } from "../../util/statistics.js";
import type { ReportResult } from "./inputs.js";

const resultSchema = storedResultSchema.extend({
  chance: z.number().optional(),
  majority: z.number().optional(),
  interval: z.tuple([z.number(), z.number()]).optional(),
});

const resultsFile = z.object({ results: z.array(resultSchema) });

/** Prompts are only compared, and there may be many: their checksums do. */
const shortened = (result: z.output<typeof resultSchema>): ReportResult => {
  const { rows, chance = null, majority = null, accuracy } = result;
  const correct = rows.filter((row) => row.correct).length;
  const interval = result.interval ?? (rows.length === 0 ? null : wilsonInterval(correct, rows.length));
  return {
    ...result,
    chance,
    majority,
    interval: accuracy === null ? null : interval,
    total: rows.length,
    rows: rows.map((row) => ({ ...row, prompt: shortHash(row.prompt) })),
  };
};

/**
 * The results in a file of `eval --outputs`, or of a run's `results/`.
 * @throws MiloraError `input/invalid-spec` for what is no result.
 */
export const resultsOf = (value: unknown, file: string): readonly ReportResult[] => {
  const several = typeof value === "object" && value !== null && "results" in value;
  const options = { what: "The result file", file };
  const results = several ? parseWith(resultsFile, value, options).results : [parseWith(resultSchema, value, options)];
  return results.map(shortened);
};
