import type { BackendEvent } from "../backend/backend.js";
import { MiloraError } from "../errors.js";
import { chunks } from "../util/text.js";

export interface ChunkedOptions<Item, Result> {
  readonly items: readonly Item[];
  readonly sizeOf: (item: Item) => number;
  readonly batchSize: number;
  /** Results of a chunk, in its order; `onEvent` takes what the backend tells meanwhile. */
  readonly run: (items: readonly Item[], onEvent: (event: BackendEvent) => void) => Promise<readonly Result[]>;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/**
 * Tells progress while a chunk is at work: of its rows, in proportion, those that the backend's share stands for. The
 * chunk's last row waits for its end, and nothing goes back where a chunk takes several calls.
 */
const progressWithin = (
  { items, onProgress }: Pick<ChunkedOptions<unknown, unknown>, "items" | "onProgress">,
  chunk: { readonly start: number; readonly size: number },
) => {
  let told = 0;
  return (event: BackendEvent): void => {
    if (event.type !== "progress" || event.total <= 0) return;
    const rows = Math.min(Math.floor((chunk.size * event.done) / event.total), chunk.size - 1);
    if (rows <= told) return;
    told = rows;
    onProgress?.(chunk.start + rows, items.length);
  };
};

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
    const onEvent = progressWithin(options, { start: results.size, size: chunk.length });
    const part = await run(
      chunk.map(({ item }) => item),
      onEvent,
    );
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
