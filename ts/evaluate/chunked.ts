import { MiloraError } from "../errors.js";
import { chunks } from "../util/text.js";

export interface ChunkedOptions<Item, Result> {
  readonly items: readonly Item[];
  readonly sizeOf: (item: Item) => number;
  readonly batchSize: number;
  /** Results of a chunk, in its order. */
  readonly run: (items: readonly Item[]) => Promise<readonly Result[]>;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/**
 * Runs items in chunks of like size, the largest first (it needs the most memory, and the time left is then never too
 * low), and gives the results in the items' order. Errors: `cancelled` between two chunks.
 */
export const runChunked = async <Item, Result>(options: ChunkedOptions<Item, Result>): Promise<readonly Result[]> => {
  const { items, sizeOf, batchSize, run, signal, onProgress } = options;
  const bySize = items
    .map((item, index) => ({ item, index, size: sizeOf(item) }))
    .toSorted((left, right) => right.size - left.size);
  const results = new Map<number, Result>();
  // Whoever takes the time begins now, not after the first chunk, which is the longest.
  onProgress?.(0, items.length);
  for (const chunk of chunks(bySize, batchSize)) {
    if (signal?.aborted === true) throw new MiloraError("cancelled", "The evaluation was cancelled.");
    const part = await run(chunk.map(({ item }) => item));
    if (part.length !== chunk.length) {
      throw new MiloraError("internal", `${chunk.length} rows went to the model, ${part.length} came back.`);
    }
    chunk.forEach(({ index }, position) => {
      for (const result of part.slice(position, position + 1)) results.set(index, result);
    });
    onProgress?.(results.size, items.length);
  }
  return [...results].toSorted(([left], [right]) => left - right).map(([, result]) => result);
};
