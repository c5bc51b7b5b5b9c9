import type { TrainEvent } from "../runs/events.js";

/** What a finished run leaves. */
export interface TrainResult {
  /** The run's folder. */
  readonly folder: string;
  /** Folder of the best adapter, in PEFT's layout. */
  readonly adapter: string;
  readonly steps: number;
  /** `epochs`, `max-steps`, `patience`, or the reason that `stop` was given. */
  readonly stoppedBy: string;
  readonly best: { readonly step: number; readonly devPerplexity: number } | null;
  readonly tokensPerSecond: number;
}

/** Lets a run be watched and stopped from inside the loop. */
export interface RunControl {
  readonly emit: (event: TrainEvent) => void;
  /** The reason that a stop was asked for, if any. */
  readonly stopReason: () => string | undefined;
  /** Aborted when a stop was asked for; ends a running evaluation early. */
  readonly stopping: AbortSignal;
}

/** A training run: its events in order, and its result. Nothing blocks where nobody listens. */
export interface TrainRun extends AsyncIterable<TrainEvent> {
  /** Ends the run after the step in progress, with a checkpoint and the adapter saved. */
  readonly stop: (reason?: string) => void;
  readonly result: Promise<TrainResult>;
}

/**
 * Starts a run and hands out its handle at once.
 * @param options.signal An abort is a stop with reason `interrupted`.
 */
export const startRun = (
  work: (control: RunControl) => Promise<TrainResult>,
  options: {
    readonly signal?: AbortSignal | undefined;
    readonly onEvent?: ((event: TrainEvent) => void) | undefined;
  } = {},
): TrainRun => {
  const events: TrainEvent[] = [];
  const stopping = new AbortController();
  let reason: string | undefined;
  let ended = false;
  let waiting: (() => void)[] = [];
  const news = (): void => {
    const woken = waiting;
    waiting = [];
    for (const wake of woken) wake();
  };
  const stop = (why = "stopped"): void => {
    reason ??= why;
    stopping.abort();
  };
  if (options.signal?.aborted) stop("interrupted");
  const onAbort = (): void => stop("interrupted");
  options.signal?.addEventListener("abort", onAbort, { once: true });
  const emit = (event: TrainEvent): void => {
    events.push(event);
    options.onEvent?.(event);
    news();
  };
  const result = work({ emit, stopReason: () => reason, stopping: stopping.signal }).finally(() => {
    options.signal?.removeEventListener("abort", onAbort);
    ended = true;
    news();
  });
  // A failure is told by `result` and by the iterator; a handle nobody looks at must not end the process.
  result.catch(() => undefined);
  return {
    stop,
    result,
    async *[Symbol.asyncIterator]() {
      for (let next = 0; ; next += 1) {
        while (next >= events.length && !ended) await new Promise<void>((resolve) => waiting.push(resolve));
        const event = events[next];
        if (event === undefined) break;
        yield event;
      }
      await result;
    },
  };
};
