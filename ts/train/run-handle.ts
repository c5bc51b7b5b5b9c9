import type { TrainEvent } from "../runs/events.js";

/** What a finished run leaves. */
export interface TrainResult {
  /** The run's folder. */
  readonly folder: string;
  /** Folder of the best adapter, in PEFT's layout. */
  readonly adapter: string;
  /** Weight steps that were made. */
  readonly steps: number;
  /** `epochs`, `max-steps`, `patience`, or the reason that `stop` was given. */
  readonly stoppedBy: string;
  /** The evaluation of the adapter that is kept; null where there was none. */
  readonly best: {
    /** Weight steps before it. */
    readonly step: number;
    /** Its dev perplexity. */
    readonly devPerplexity: number;
  } | null;
  /** All tokens that were not padding, of weight steps, a second of training. */
  readonly tokensPerSecond: number;
  /** Updates that were skipped because loss or gradient was not finite. */
  readonly skipped: number;
}

/** What a hook asks of the loop. */
export interface TrainDecision {
  /** Ends the run after the step in progress, saved, for this reason. */
  readonly stop?: string | undefined;
  /** Writes a checkpoint after the step in progress. */
  readonly save?: boolean | undefined;
  /** What the scheduled learning rates are multiplied by from the next step on; 1 = as scheduled. */
  readonly rateFactor?: number | undefined;
}

/** Looks at each step and each evaluation, in order, and may decide; the loop waits for it. */
export type DecideHook = (
  event: Extract<TrainEvent, { type: "step" | "evaluation" }>,
) => TrainDecision | undefined | Promise<TrainDecision | undefined>;

/** Lets a run be watched and stopped from inside the loop. */
export interface RunControl {
  readonly emit: (event: TrainEvent) => void;
  readonly decide: DecideHook | undefined;
  readonly stop: (reason: string) => void;
  /** The reason that a stop was asked for, if any. */
  readonly stopReason: () => string | undefined;
  /** Aborted when a stop was asked for; ends a running evaluation early. */
  readonly stopping: AbortSignal;
}

/**
 * A training run: its events in order, and its result. Nothing blocks where nobody listens; who looks late sees the
 * newest 10,000 events, and finds all in the run's folder.
 */
export interface TrainRun extends AsyncIterable<TrainEvent> {
  /** Ends the run after the step in progress, with a checkpoint and the adapter saved. */
  readonly stop: (reason?: string) => void;
  /** How it ended; rejects where the run failed. */
  readonly result: Promise<TrainResult>;
}

/** Events in their order; whoever looks holds what it has not seen, and nobody else does. */
interface EventNode {
  readonly event: TrainEvent;
  next: EventNode | undefined;
}

/** So many events are kept for who looks late; a run's folder holds them all. */
const keptEvents = 10_000;

/** A queue of events that any number of readers follow, each at its own pace. */
class EventQueue {
  #first: EventNode | undefined;
  #last: EventNode | undefined;
  #count = 0;
  #ended = false;
  #waiting: (() => void)[] = [];

  #wake(): void {
    const woken = this.#waiting;
    this.#waiting = [];
    for (const wake of woken) wake();
  }

  add(event: TrainEvent): void {
    const node: EventNode = { event, next: undefined };
    if (this.#last === undefined) this.#first = node;
    else this.#last.next = node;
    this.#last = node;
    if (this.#count === keptEvents) this.#first = this.#first?.next;
    else this.#count += 1;
    this.#wake();
  }

  end(): void {
    this.#ended = true;
    this.#wake();
  }

  async *read(): AsyncGenerator<TrainEvent, void, void> {
    let seen: EventNode | undefined;
    for (;;) {
      const node: EventNode | undefined = seen === undefined ? this.#first : seen.next;
      if (node !== undefined) {
        yield node.event;
        seen = node;
      } else if (this.#ended) return;
      else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }
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
    readonly decide?: DecideHook | undefined;
  } = {},
): TrainRun => {
  const { signal, onEvent, decide } = options;
  const events = new EventQueue();
  const stopping = new AbortController();
  let reason: string | undefined;
  const stop = (why = "stopped"): void => {
    reason ??= why;
    stopping.abort();
  };
  if (signal?.aborted) stop("interrupted");
  const onAbort = (): void => stop("interrupted");
  signal?.addEventListener("abort", onAbort, { once: true });
  const emit = (event: TrainEvent): void => {
    events.add(event);
    onEvent?.(event);
  };
  const result = work({ emit, decide, stop, stopReason: () => reason, stopping: stopping.signal }).finally(() => {
    signal?.removeEventListener("abort", onAbort);
    events.end();
  });
  // A failure is told by `result` and by the iterator; a handle nobody looks at must not end the process.
  result.catch(() => undefined);
  return {
    stop,
    result,
    async *[Symbol.asyncIterator]() {
      yield* events.read();
      await result;
    },
  };
};
