import { MiloraError } from "../errors.js";
import type { Backend } from "../backend/backend.js";

const isOutOfMemory = (error: unknown): boolean => MiloraError.isInstance(error) && error.code === "memory/exhausted";

/** Where the free memory is not known, a trial goes no further: nothing would stop it in time. */
const mostWithoutGauge = 16;
/** Share of the free memory that a trial may fill; the optimiser's moments and longer steps need the rest. */
const fillable = 0.8;

/** How many rows are computed at once: as the spec says, or with `auto` as many as memory has room for. */
export class MicroBatch {
  readonly #backend: Backend;
  readonly #auto: boolean;
  #rows: number;

  constructor(backend: Backend, setting: number | "auto", batchSize: number) {
    this.#backend = backend;
    this.#auto = setting === "auto";
    this.#rows = setting === "auto" ? batchSize : setting;
  }

  get rows(): number {
    return this.#rows;
  }

  /** The count that a checkpoint keeps; null where the spec alone decides. */
  get found(): number | null {
    return this.#auto ? this.#rows : null;
  }

  async set(rows: number): Promise<void> {
    await this.#backend.call("setMicroBatch", { rows });
    this.#rows = rows;
  }

  /** Goes on with what a checkpoint kept. */
  async restore(found: number | null): Promise<void> {
    if (this.#auto && found !== null) await this.set(found);
  }

  /** Calls `work`; with `auto` it is called again with half the rows at once when memory runs out, down to one row. */
  async fit<Result>(work: () => Promise<Result>): Promise<Result> {
    for (;;) {
      try {
        return await work();
      } catch (error) {
        if (!this.#auto || this.#rows === 1 || !isOutOfMemory(error)) throw error;
        await this.set(Math.ceil(this.#rows / 2));
      }
    }
  }

  /**
   * With `auto` finds how many of the longest rows fit at once: one, two, four, … until the next would not.
   * @param longest Indices of the longest rows of the training set, at least as many as a step has.
   * @returns whether there was a trial.
   */
  async tryOut(longest: readonly number[]): Promise<boolean> {
    if (!this.#auto) return false;
    const most = Math.min(this.#rows, longest.length);
    await this.set(1);
    for (let next = 1; next <= most; next = next === most ? most + 1 : Math.min(2 * next, most)) {
      const room = await this.#room(longest.slice(0, next));
      if (room < 1) break;
      await this.set(next);
      if (room < 2) break;
    }
    return true;
  }

  /** How many times the memory of these rows there is; 0 where it does not even suffice once. */
  async #room(rows: readonly number[]): Promise<number> {
    try {
      const { usedBytes, freeBytes } = await this.#backend.call("trialStep", { data: "train", rows: [...rows] });
      if (freeBytes === null) return rows.length >= mostWithoutGauge ? 1 : Infinity;
      return Math.max(1, (fillable * (freeBytes + usedBytes)) / Math.max(1, usedBytes));
    } catch (error) {
      if (isOutOfMemory(error) && rows.length > 1) return 0;
      throw error;
    }
  }
}
