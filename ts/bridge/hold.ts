import type { ChildProcess } from "node:child_process";
import { Socket } from "node:net";

/** Keeps this process alive while something waits for Python, and only then: a script ends by itself. */
export class Hold {
  readonly #proc: ChildProcess;
  #count = 0;

  constructor(proc: ChildProcess) {
    this.#proc = proc;
    for (const stream of [proc.stdout, proc.stderr]) if (stream instanceof Socket) stream.unref();
    this.#letGo();
  }

  add(): void {
    this.#count += 1;
    if (this.#count > 1) return;
    this.#proc.ref();
    this.#proc.channel?.ref();
  }

  drop(): void {
    this.#count -= 1;
    if (this.#count === 0) this.#letGo();
  }

  #letGo(): void {
    this.#proc.unref();
    this.#proc.channel?.unref();
  }
}
