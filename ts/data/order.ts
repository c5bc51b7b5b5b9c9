import { mixSeed, shuffled } from "../util/random.js";
import { chunks } from "../util/text.js";

export interface EpochOrderOptions {
  readonly rows: number;
  /** Tokens of each row; 0 leaves the row out. */
  readonly lengths: readonly number[];
  readonly batchSize: number;
  /** 0-based. */
  readonly epoch: number;
  readonly seed: number;
}

/** Rows are sorted by length inside windows of this many batches: little padding, and still a random order. */
const batchesPerWindow = 16;

/**
 * One epoch's batches of row indices: shuffled by seed and epoch, then bucketed by length inside windows, the batches
 * shuffled again. Each row with a length occurs once; the one smaller batch, if any, is kept.
 */
export const epochOrder = (options: EpochOrderOptions): readonly (readonly number[])[] => {
  const { rows, lengths, batchSize, epoch, seed } = options;
  const lengthOf = (row: number): number => lengths[row] ?? 0;
  const usable = Array.from({ length: rows }, (_, row) => row).filter((row) => lengthOf(row) > 0);
  const windows = chunks(shuffled(usable, mixSeed(seed, "rows", epoch)), batchSize * batchesPerWindow);
  const batches = windows.flatMap((window) =>
    chunks(
      window.toSorted((left, right) => lengthOf(left) - lengthOf(right)),
      batchSize,
    ),
  );
  return shuffled(batches, mixSeed(seed, "batches", epoch));
};
