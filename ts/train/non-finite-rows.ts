import { MiloraError } from "../errors.js";

/** Rows that are looked at one by one at most; a set with more such rows has another trouble. */
const mostNamed = 20;

/**
 * The rows whose own loss is not finite, found by halving; none where only the gradient of all of them was not.
 * @param loss Computes the loss of rows; it throws `training/non-finite`.
 */
export const nonFiniteRows = async (
  rows: readonly number[],
  loss: (rows: readonly number[]) => Promise<unknown>,
): Promise<readonly number[]> => {
  const found: number[] = [];
  const search = async (part: readonly number[]): Promise<void> => {
    if (part.length === 0 || found.length >= mostNamed) return;
    try {
      await loss(part);
      return;
    } catch (error) {
      if (!MiloraError.isInstance(error) || error.code !== "training/non-finite") throw error;
    }
    if (part.length === 1) {
      found.push(...part);
      return;
    }
    const middle = Math.ceil(part.length / 2);
    await search(part.slice(0, middle));
    await search(part.slice(middle));
  };
  await search(rows);
  return found;
};
