import type { BackendEvent, CallOptions } from "../backend/backend.js";
import type { MiloraError } from "../errors.js";
import { CallQueue } from "./call-queue.js";
import type { Canceller } from "./canceller.js";
import { openEnvelope } from "./envelope.js";
import { cancelledError, protocolError, timeoutError } from "./errors.js";
import type { Hold } from "./hold.js";
import { encode } from "./wire.js";

/** Beyond this, setTimeout fires at once. */
const maxTimerMs = 2 ** 31 - 1;

export interface CallRunnerOptions {
  readonly canceller: Canceller;
  readonly hold: Hold;
  /** Sends a call to Python; its reply is the text of an envelope. */
  readonly send: (op: string, payload: string, id: number) => SentCall;
}

export interface SentCall {
  readonly reply: Promise<unknown>;
  readonly isServed: () => boolean;
}

interface PendingCall {
  readonly id: number;
  readonly op: string;
  readonly onEvent: ((event: BackendEvent) => void) | undefined;
  readonly abort: (reason: unknown) => void;
}

/** The typed calls of a session: queued, cancelled, timed, each settled exactly once and only when Python is done. */
export class CallRunner {
  readonly #options: CallRunnerOptions;
  readonly #queue = new CallQueue();
  readonly #pending = new Set<PendingCall>();
  #running: PendingCall | undefined;
  #lastId = 0;

  constructor(options: CallRunnerOptions) {
    this.#options = options;
  }

  /**
   * Runs an operation in its turn.
   * @throws MiloraError `cancelled`, `bridge/timeout`, whatever Python raised, or the end of the session.
   */
  async run(op: string, input: unknown, options: CallOptions): Promise<unknown> {
    const { signal, timeoutMs } = options;
    if (signal?.aborted === true) throw cancelledError(op, signal.reason);
    const payload = payloadOf(op, input);
    const stop = new AbortController();
    const onAbort = (): void => stop.abort(cancelledError(op, signal?.reason));
    signal?.addEventListener("abort", onAbort, { once: true });
    const timer =
      timeoutMs !== undefined && timeoutMs <= maxTimerMs
        ? setTimeout(() => stop.abort(timeoutError(op, timeoutMs)), timeoutMs)
        : undefined;
    this.#options.hold.add();
    try {
      return await this.#enqueue({ op, payload, stop, onEvent: options.onEvent });
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
      this.#options.hold.drop();
    }
  }

  /** Hands an event to the call that it belongs to; an error of its listener ends the call. */
  deliver(id: number, event: BackendEvent): void {
    const call = this.#running;
    if (call === undefined || call.id !== id) return;
    try {
      call.onEvent?.(event);
    } catch (error) {
      call.abort(error);
    }
  }

  /** Rejects what has not started, and ends what runs; all with this reason. */
  abortAll(reason: MiloraError): void {
    for (const call of this.#pending) call.abort(reason);
  }

  #enqueue(job: {
    readonly op: string;
    readonly payload: string;
    readonly stop: AbortController;
    readonly onEvent: PendingCall["onEvent"];
  }): Promise<unknown> {
    const { op, payload, stop, onEvent } = job;
    this.#lastId += 1;
    const call: PendingCall = { id: this.#lastId, op, onEvent, abort: (reason) => stop.abort(reason) };
    this.#pending.add(call);
    return new Promise((resolve, reject) => {
      const takeBack = this.#queue.add(async () => {
        await this.#work(call, payload, stop.signal).then(resolve, reject);
        this.#pending.delete(call);
      });
      stop.signal.addEventListener("abort", () => {
        if (!takeBack()) return;
        this.#pending.delete(call);
        reject(stop.signal.reason);
      });
    });
  }

  async #work(call: PendingCall, payload: string, stop: AbortSignal): Promise<unknown> {
    const { canceller, send } = this.#options;
    this.#running = call;
    const { reply, isServed } = send(call.op, payload, call.id);
    const onStop = (): void => canceller.begin({ op: call.op, isServed });
    if (stop.aborted) onStop();
    else stop.addEventListener("abort", onStop);
    try {
      const envelope = await reply;
      stop.throwIfAborted();
      return openEnvelope(envelope);
    } catch (error) {
      // Python's own word about an end that was asked for from here says less than the reason.
      throw stop.aborted ? stop.reason : error;
    } finally {
      this.#running = undefined;
      canceller.end();
    }
  }
}

const payloadOf = (op: string, input: unknown): string => {
  try {
    return encode(input);
  } catch (cause) {
    throw protocolError(`The input of ${op} cannot be sent as JSON: ${String(cause)}`, { cause });
  }
};
