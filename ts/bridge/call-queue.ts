/** Runs asynchronous jobs one at a time, in the order in which they were added. */
export class CallQueue {
  readonly #waiting: (() => Promise<void>)[] = [];
  #busy = false;

  /**
   * Starts the job now or in its turn; it must not reject.
   * @returns a function that takes the job back: true if it had not started.
   */
  add(job: () => Promise<void>): () => boolean {
    this.#waiting.push(job);
    this.#next();
    return () => {
      const index = this.#waiting.indexOf(job);
      if (index < 0) return false;
      this.#waiting.splice(index, 1);
      return true;
    };
  }

  #next(): void {
    if (this.#busy) return;
    const job = this.#waiting.shift();
    if (job === undefined) return;
    this.#busy = true;
    void job().finally(() => {
      this.#busy = false;
      this.#next();
    });
  }
}
