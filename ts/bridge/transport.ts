import { errorOfUnknown } from "./errors.js";
import type { Hold } from "./hold.js";
import type { Callback, Com, Message } from "./pythonia.js";
import { untag } from "./wire.js";

/** What a reply's `sig` says when Python is no more. */
export const endedSignature = "milora:ended";

export interface TransportOptions {
  readonly com: Com;
  readonly hold: Hold;
  /** Takes a message that Python sends unasked: an event of a call. */
  readonly onEvent: (message: Message) => void;
}

/**
 * pythonia's transport, replaced in place: every request is answered, at the latest when Python dies; nothing is
 * written to a Python that is no more; numbers that JSON cannot hold are restored.
 */
export class Transport {
  readonly #options: TransportOptions;
  /** Unanswered requests, oldest first; Python works on the first. */
  readonly #pending = new Map<number, Callback>();
  #refusing = false;
  #lastRequest = 0;

  constructor(options: TransportOptions) {
    this.#options = options;
    const { com } = options;
    com.write = (message, callback) => {
      this.#write(message.r ?? 0, callback, () => com.proc.send(message));
    };
    const writeRaw = com.writeRaw.bind(com);
    com.writeRaw = (payload, id, callback) => {
      this.#write(id, callback, () => {
        writeRaw(payload, id, callback);
        // The original keeps a handler for an answer that it will never see.
        delete com.handlers[id];
      });
    };
    com.recieve = (message) => this.#receive(message);
  }

  /** The id of the request that was written last. */
  get lastRequest(): number {
    return this.#lastRequest;
  }

  /** True while Python works on this request (and not on an earlier one). */
  isServing(request: number): boolean {
    return this.#pending.keys().next().value === request;
  }

  /** From here on requests are answered with the end, unsent. */
  refuse(): void {
    this.#refusing = true;
  }

  /** Answers everything that still waits: Python will not. */
  end(): void {
    this.#refusing = true;
    for (const [id, callback] of this.#pending) this.#finish(id, callback, endReply(id));
  }

  #write(id: number, callback: Callback | undefined, send: () => void): void {
    if (this.#refusing) {
      // Never in the caller's own tick: pythonia expects its answers later.
      if (callback !== undefined) queueMicrotask(() => callback(endReply(id)));
      return;
    }
    send();
    if (callback === undefined) return;
    this.#lastRequest = id;
    this.#pending.set(id, callback);
    this.#options.hold.add();
  }

  #receive(message: Message): void {
    if (message.c === "milora") {
      this.#options.onEvent(message);
      return;
    }
    if (message.c !== undefined) {
      this.#options.com.handlers[message.c]?.(message);
      return;
    }
    const callback = message.r === undefined ? undefined : this.#pending.get(message.r);
    if (message.r === undefined || callback === undefined) return;
    if (message.t === 1) message.val = untag(message.val);
    this.#finish(message.r, callback, message);
  }

  #finish(id: number, callback: Callback, message: Message): void {
    let goesOn: unknown;
    try {
      goesOn = callback(message);
    } catch (error) {
      // pythonia throws in here when an argument is a promise; uncaught, that would end this process.
      callback({ r: id, key: "error", sig: errorOfUnknown(error) });
    }
    if (goesOn === true) return;
    this.#pending.delete(id);
    this.#options.hold.drop();
  }
}

const endReply = (id: number): Message => ({ r: id, key: "error", val: "", sig: endedSignature });
