import { epochOrder } from "../data/order.js";

/** Indices of rows computed in one step. */
export interface Batch {
  /** Indices of the rows in the set. */
  readonly rows: readonly number[];
}

/** Where an order of batches stands. */
export interface Position {
  readonly epoch: number;
  /** Batches of the epoch that were handed out. */
  readonly batch: number;
}

/** An endless, seeded order of batches over one data set, which can be put at any position. */
export class BatchOrder {
  readonly #lengths: readonly number[];
  readonly #batchSize: number;
  readonly #seed: number;
  #position: Position;
  #epoch: readonly (readonly number[])[];

  /** @param lengths Tokens of each row; rows of length 0 are left out. */
  constructor({
    lengths,
    batchSize,
    seed,
    position = { epoch: 0, batch: 0 },
  }: {
    readonly lengths: readonly number[];
    readonly batchSize: number;
    readonly seed: number;
    readonly position?: Position;
  }) {
    this.#lengths = lengths;
    this.#batchSize = batchSize;
    this.#seed = seed;
    this.#position = position;
    this.#epoch = this.#orderOf(position.epoch);
  }

  #orderOf(epoch: number): readonly (readonly number[])[] {
    return epochOrder({
      rows: this.#lengths.length,
      lengths: this.#lengths,
      batchSize: this.#batchSize,
      epoch,
      seed: this.#seed,
    });
  }

  get position(): Position {
    return this.#position;
  }

  get batchesPerEpoch(): number {
    return this.#epoch.length;
  }

  next(): Batch {
    if (this.#position.batch >= this.#epoch.length) {
      const epoch = this.#position.epoch + 1;
      this.#epoch = this.#orderOf(epoch);
      this.#position = { epoch, batch: 0 };
    }
    const rows = this.#epoch[this.#position.batch] ?? [];
    this.#position = { ...this.#position, batch: this.#position.batch + 1 };
    return { rows };
  }
}
