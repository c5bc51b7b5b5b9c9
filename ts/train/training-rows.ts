import type { OpOutput } from "../backend/backend.js";
import { MiloraError } from "../errors.js";
import type { TrainSettings } from "../spec/train.js";
import { BatchOrder, type Position } from "./batches.js";

export type LoadedRows = OpOutput<"loadRows">;

/** Rows that the Python side holds, and where the dev rows come from. */
export interface TrainingRows {
  readonly train: LoadedRows;
  readonly dev: LoadedRows;
  readonly devSource: string;
}

/** Rows a step, and steps of the whole training. */
export interface TrainingLength {
  readonly batchSize: number;
  readonly totalSteps: number;
}

/** The paper's rule: 16 rows a step for a training set under 10,000 rows, else 128. */
const paperBatchSize = (rows: number): number => (rows < 10_000 ? 16 : 128);

const lengthsOf = ({ answerTokens, promptTokens }: LoadedRows): readonly number[] =>
  answerTokens.map((answer, row) => (answer === 0 ? 0 : answer + (promptTokens[row] ?? 0)));

/** Indices of the rows that were not dropped. */
export const usableRows = ({ answerTokens }: LoadedRows): readonly number[] =>
  answerTokens.flatMap((answer, row) => (answer > 0 ? [row] : []));

/** Indices of the longest rows, the longest first. */
export const longestRows = (rows: LoadedRows, count: number): readonly number[] => {
  const lengths = lengthsOf(rows);
  const length = (row: number): number => lengths[row] ?? 0;
  return usableRows(rows)
    .toSorted((a, b) => length(b) - length(a))
    .slice(0, count);
};

/** Tokens of all rows that are used, prompts and answers. */
export const countTokens = (rows: LoadedRows): number => lengthsOf(rows).reduce((total, length) => total + length, 0);

/** The seeded order of one data set's batches. */
export const rowOrder = (
  rows: LoadedRows,
  {
    batchSize,
    seed,
    position = { epoch: 0, batch: 0 },
  }: { readonly batchSize: number; readonly seed: number; readonly position?: Position },
): BatchOrder => new BatchOrder({ lengths: lengthsOf(rows), batchSize, seed, position });

/**
 * How long a training on these rows is.
 * @throws MiloraError `data/empty` where every row of a set was dropped.
 */
export const trainingLength = (rows: TrainingRows, settings: TrainSettings): TrainingLength => {
  for (const which of ["train", "dev"] as const)
    if (usableRows(rows[which]).length === 0)
      throw new MiloraError(
        "data/empty",
        `No ${which === "train" ? "training" : "dev"} row is left: each answer alone is longer than ${settings.maxLength} tokens.`,
        { path: "train.maxLength", hint: "Raise train.maxLength or shorten the answers." },
      );
  const batchSize = settings.batchSize ?? paperBatchSize(usableRows(rows.train).length);
  const { batchesPerEpoch } = rowOrder(rows.train, { batchSize, seed: settings.seed });
  const byEpochs = Math.ceil(batchesPerEpoch * settings.epochs);
  return { batchSize, totalSteps: Math.max(1, Math.min(byEpochs, settings.maxSteps ?? byEpochs)) };
};
