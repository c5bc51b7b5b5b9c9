import type { OpOutput } from "../backend/backend.js";
import { MiloraError } from "../errors.js";
import { routingField, type Routing } from "./asked-text.js";

/** What has happened to a request of the engine. */
export type EngineEvent = OpOutput<"engineStep">["events"][number];

/** A reader that is so many characters behind does not keep the engine going by itself. */
const unreadCharacters = 4096;

export const cancelled = (): MiloraError => new MiloraError("cancelled", "The text was cancelled.");

export interface Deferred<Value> {
  readonly promise: Promise<Value>;
  readonly resolve: (value: Value) => void;
  readonly reject: (error: unknown) => void;
}

/** A promise with its two ends. */
export const deferred = <Value>(): Deferred<Value> => {
  let resolve: (value: Value) => void = () => undefined;
  let reject: (error: unknown) => void = () => undefined;
  const promise = new Promise<Value>((onValue, onError) => {
    resolve = onValue;
    reject = onError;
  });
  // Who reads the pieces need not wait for the result as well.
  promise.catch(() => undefined);
  return { promise, resolve, reject };
};

/** When a text was admitted to the batch, when its prompt was computed, and when its first token was there. */
export type TextSeconds = Readonly<NonNullable<NonNullable<EngineEvent["end"]>["seconds"]>>;

/** How a text ended. */
export interface WrittenText {
  readonly text: string;
  readonly newTokens: number;
  readonly finish: "stop" | "length";
  readonly seconds: TextSeconds;
  readonly routing?: Routing | undefined;
}

/** One text under way, between the engine and its reader. */
export class Writing {
  readonly #ending = deferred<WrittenText>();
  readonly #onRead: () => void;
  #wantsAbort = false;
  #hasReader = false;
  #unread = "";
  #ended = false;
  #failed = false;
  #changed = deferred<void>();

  /** `onRead` is told whenever the engine may have to go on: the reader has read, or wants no more. */
  constructor(onRead: () => void) {
    this.#onRead = onRead;
  }

  get ending(): Promise<WrittenText> {
    return this.#ending.promise;
  }

  /** Nobody wants the rest. */
  get wantsAbort(): boolean {
    return this.#wantsAbort;
  }

  /** Whether there is a reader who has much left to read; without one the text just grows. */
  get isBehind(): boolean {
    return this.#hasReader && !this.#wantsAbort && this.#unread.length > unreadCharacters;
  }

  #tell(): void {
    this.#changed.resolve();
    this.#changed = deferred<void>();
  }

  abort(): void {
    this.#wantsAbort = !this.#ended;
    this.#onRead();
  }

  fail(error: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#failed = true;
    this.#ending.reject(error);
    this.#tell();
  }

  take({ text, end }: EngineEvent): void {
    this.#unread += text;
    if (end === null) return this.#tell();
    if (end.error !== null) return this.fail(new MiloraError(end.error.code, end.error.message, end.error.details));
    const { text: whole, newTokens, finish, seconds, routing } = end;
    // A whole text has had a first token.
    if ((finish !== "stop" && finish !== "length") || seconds === null) return this.fail(cancelled());
    this.#ended = true;
    this.#ending.resolve({ text: whole, newTokens, finish, seconds, ...routingField(routing) });
    return this.#tell();
  }

  /** The pieces, for one reader; leaving early aborts the rest. */
  async *pieces(): AsyncGenerator<string, void, void> {
    this.#hasReader = true;
    try {
      for (;;) {
        const changed = this.#changed.promise;
        if (this.#unread !== "") {
          const piece = this.#unread;
          this.#unread = "";
          this.#onRead();
          yield piece;
        } else if (this.#ended) {
          // Rejects with what went wrong.
          if (this.#failed) await this.#ending.promise;
          return;
        } else await changed;
      }
    } finally {
      this.abort();
    }
  }
}
