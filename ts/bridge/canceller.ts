import type { CancelFlag } from "./cancel-flag.js";

/** While Python still works on an earlier raw call, how long until the next look. */
const waitForTurnMs = 250;

export interface CancellerOptions {
  readonly flag: CancelFlag;
  readonly interruptAfterMs: number;
  readonly killAfterMs: number;
  readonly interrupt: () => void;
  readonly kill: (because: string) => void;
}

export interface Target {
  readonly op: string;
  /** True while Python works on this call, not on something before it. */
  readonly isServed: () => boolean;
}

/** Ends a running call: first by the flag that operations look at, then by SIGUSR1, then by SIGKILL. */
export class Canceller {
  readonly #options: CancellerOptions;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: CancellerOptions) {
    this.#options = options;
  }

  begin(target: Target): void {
    if (this.#timer !== undefined) return;
    const { flag, interrupt, interruptAfterMs } = this.#options;
    flag.raise();
    this.#after(interruptAfterMs, target, () => {
      interrupt();
      this.#killLater(target);
    });
  }

  /** The call has ended; the flag is down for the next one. */
  end(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#options.flag.lower();
  }

  #killLater(target: Target): void {
    const { kill, killAfterMs, interruptAfterMs } = this.#options;
    const milliseconds = interruptAfterMs + killAfterMs;
    this.#after(killAfterMs, target, () => {
      kill(`the cancelled call of ${target.op} did not stop within ${milliseconds} ms`);
    });
  }

  #after(milliseconds: number, target: Target, action: () => void): void {
    this.#timer = setTimeout(() => {
      if (target.isServed()) action();
      else this.#after(waitForTurnMs, target, action);
    }, milliseconds);
  }
}
