import { MiloraError } from "../errors.js";
import { mixSeed, shuffled } from "../util/random.js";

/** The parts that a data set has or is cut into. */
export type SplitName = "train" | "dev" | "test";

export interface Split<Item> {
  readonly train: readonly Item[];
  readonly dev: readonly Item[];
}

/**
 * Splits a dev set off, by seed; both parts keep the items' order and hold at least one.
 * `share`: the dev set's part, between 0 and 1. Errors: `data/empty` for fewer than two items.
 */
export const splitRows = <Item>(
  items: readonly Item[],
  options: { readonly share: number; readonly seed: number },
): Split<Item> => {
  if (items.length < 2) {
    throw new MiloraError("data/empty", "A dev set can't be split off: there are fewer than two rows.", {
      found: `${items.length}`,
      allowed: "at least two rows, or a dev file of its own",
    });
  }
  const wanted = Math.round(items.length * options.share);
  const size = Math.min(items.length - 1, Math.max(1, wanted));
  const dev = new Set(shuffled([...items.keys()], mixSeed(options.seed, "split")).slice(0, size));
  return {
    train: items.filter((_, index) => !dev.has(index)),
    dev: items.filter((_, index) => dev.has(index)),
  };
};
