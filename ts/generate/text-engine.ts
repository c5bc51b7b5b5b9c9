import { resolve } from "node:path";
import { askedInput } from "../backend/asked-input.js";
import type { Backend, OpInput, OpOutput } from "../backend/backend.js";
import { MiloraError } from "../errors.js";
import { changeInput, promptText, type Asked, type Routing, type RoutingChange } from "./asked-text.js";
import { cancelled, deferred, Writing, type TextSeconds } from "./writing.js";

/** How tokens are drawn; see transformers for what each setting means. */
export interface SamplingOptions {
  /** 0, the default, takes the most probable token. */
  readonly temperature?: number | undefined;
  /** So many of the most probable tokens only; 0, the default, takes all. */
  readonly topK?: number | undefined;
  /** The most probable tokens that reach this share together; 1 by default. */
  readonly topP?: number | undefined;
  /** Above 1 makes tokens that were there less probable; 1 by default. */
  readonly repetitionPenalty?: number | undefined;
  /** The same seed draws the same tokens, whatever else runs. */
  readonly seed?: number | undefined;
}

/** A prompt for the base model or for one of the engine's tenants. */
export type StreamRequest = Asked &
  RoutingChange & {
    /** Name of an adapter of the engine; the base model without it. */
    readonly tenant?: string | undefined;
    /** 128 by default. */
    readonly maxNewTokens?: number | undefined;
    /** Beam search with so many beams; its text comes in one piece. */
    readonly beams?: number | undefined;
    /** Texts that end the answer where they begin. */
    readonly stop?: readonly string[] | undefined;
    /** Greedy by default. */
    readonly sampling?: SamplingOptions | undefined;
    /** Adds the prompt's routing to the result. */
    readonly explain?: boolean | undefined;
  };

/** A whole text; `routing` with `explain` and a routed adapter. */
export interface StreamedText {
  /** The adapter that wrote it; null for the base model. */
  readonly tenant: string | null;
  /** The request's; of a chat the newest message. */
  readonly prompt: string;
  /** What was written, without the prompt. */
  readonly text: string;
  /** Tokens of the prompt. */
  readonly promptTokens: number;
  /** Tokens that were written. */
  readonly newTokens: number;
  /** `stop`: the model or a stop text ended it; `length`: it reached `maxNewTokens`. */
  readonly finish: "stop" | "length";
  /** Its time in the queue, its prefill and its first token. */
  readonly seconds: TextSeconds;
  /** What the routers decided for the prompt. */
  readonly routing?: Routing | undefined;
}

/**
 * A text while it is written: its pieces in order, for one reader, and the whole. A reader that stops early ends it;
 * one that is far behind lets the engine wait, unless another text is wanted.
 */
export interface TextStream extends AsyncIterable<string> {
  /** The whole text; rejects where it could not be written. */
  readonly result: Promise<StreamedText>;
}

/** Bounds of the engine; see the operation `engineOpen`. */
export type EngineOptions = OpInput<"engineOpen">;

/** An adapter of an engine: where it is and what uses it; see the operation `engineAdapters`. */
export type EngineAdapter = Readonly<OpOutput<"engineAdapters">["adapters"][number]>;

/** Figures of an engine; see the operation `engineStatistics`. */
export type EngineStatistics = Readonly<OpOutput<"engineStatistics">>;

/** Many tenants' adapters on one model, in one batch. Texts that are asked for at the same time are written together. */
export interface TextEngine {
  /** Why the model runs row by row, slower; null where it runs fused. */
  readonly slowBecause: string | null;
  /**
   * Loads an adapter folder; a name that is taken gets the new one, and texts under way keep the old one. `pinned`: once
   * on the device it stays there. Errors: `memory/exhausted` for one that `adapterMemory` could never hold.
   */
  readonly load: (name: string, folder: string, options?: { readonly pinned?: boolean | undefined }) => Promise<void>;
  /** Forgets an adapter at once for new texts; those under way end with it, and its memory is freed with the last. */
  readonly unload: (name: string) => Promise<void>;
  /** What the engine has made so far: growths of its cache, and with `compile` graphs of its decode step. */
  readonly statistics: () => Promise<EngineStatistics>;
  /** The loaded adapters, and earlier versions that texts under way still have. */
  readonly adapters: () => Promise<readonly EngineAdapter[]>;
  /**
   * Asks for a text. An abort of `signal` ends it within two steps, and `result` rejects with code `cancelled`. A failure
   * beyond one text, such as memory that runs out, rejects all that are under way; the engine serves later ones.
   */
  readonly stream: (request: StreamRequest, options?: { readonly signal?: AbortSignal | undefined }) => TextStream;
  /** Ends what is under way and lets go of the adapters. */
  readonly close: () => Promise<void>;
}

/** Steps of one call: other calls wait for no more than these. */
const stepsPerCall = 4;

const submitInput = (request: StreamRequest): OpInput<"engineSubmit"> => {
  const { tenant = null, maxNewTokens, beams, stop = [], sampling = {}, explain } = request;
  const texts = { ...askedInput(request), stop: [...stop] };
  return { adapter: tenant, ...texts, maxNewTokens, beams, sampling, ...changeInput(request), explain };
};

/** One loop of steps for all texts under way. */
class Pump {
  readonly #backend: Backend;
  readonly #running = new Map<number, Writing>();
  #isStepping = false;
  #isClosed = false;
  #woken = deferred<void>();

  constructor(backend: Backend) {
    this.#backend = backend;
  }

  readonly wake = (): void => {
    this.#woken.resolve();
    this.#woken = deferred<void>();
  };

  /** Puts a request in line and sees to it that steps are made; gives the tokens of its prompt. */
  async submit(request: StreamRequest, writing: Writing): Promise<number> {
    if (this.#isClosed) throw new MiloraError("input/invalid-spec", "The engine is closed.");
    if (writing.wantsAbort) throw cancelled();
    const submitted = await this.#backend.call("engineSubmit", submitInput(request));
    if (this.#isClosed) throw cancelled();
    this.#running.set(submitted.request, writing);
    this.wake();
    void this.#run();
    return submitted.promptTokens;
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#failAll(cancelled());
    this.wake();
    await this.#backend.call("engineClose", {});
  }

  async #run(): Promise<void> {
    if (this.#isStepping) return;
    this.#isStepping = true;
    try {
      while (this.#running.size > 0 && !this.#isClosed) {
        const woken = this.#woken.promise;
        if ([...this.#running.values()].every(({ isBehind }) => isBehind)) await woken;
        else await this.#step();
      }
    } catch (error) {
      this.#failAll(error);
    } finally {
      this.#isStepping = false;
    }
  }

  async #step(): Promise<void> {
    const abort = [...this.#running].filter(([, { wantsAbort }]) => wantsAbort).map(([request]) => request);
    const { events } = await this.#backend.call("engineStep", { maxSteps: stepsPerCall, abort });
    for (const event of events) {
      this.#running.get(event.request)?.take(event);
      if (event.end !== null) this.#running.delete(event.request);
    }
  }

  #failAll(error: unknown): void {
    for (const writing of this.#running.values()) writing.fail(error);
    this.#running.clear();
  }
}

const startStream = (pump: Pump, request: StreamRequest, signal: AbortSignal | undefined): TextStream => {
  const writing = new Writing(pump.wake);
  const abort = (): void => writing.abort();
  if (signal?.aborted === true) abort();
  signal?.addEventListener("abort", abort, { once: true });
  const write = async (): Promise<StreamedText> => {
    try {
      const promptTokens = await pump.submit(request, writing);
      const { tenant = null } = request;
      return { tenant, prompt: promptText(request), promptTokens, ...(await writing.ending) };
    } catch (error) {
      writing.fail(error);
      throw error;
    } finally {
      signal?.removeEventListener("abort", abort);
    }
  };
  const result = write();
  // Who reads the pieces need not wait for the result as well.
  result.catch(() => undefined);
  return { result, [Symbol.asyncIterator]: () => writing.pieces() };
};

/** Opens the engine of the backend's open model. */
export const openTextEngine = async (backend: Backend, options: EngineOptions = {}): Promise<TextEngine> => {
  const { slowBecause } = await backend.call("engineOpen", options);
  const pump = new Pump(backend);
  return {
    slowBecause,
    load: async (name, folder, { pinned } = {}) => {
      await backend.call("engineLoad", { adapter: name, folder: resolve(folder), pinned });
    },
    unload: async (name) => {
      await backend.call("engineUnload", { adapter: name });
    },
    statistics: () => backend.call("engineStatistics", {}),
    adapters: async () => (await backend.call("engineAdapters", {})).adapters,
    stream: (request, { signal } = {}) => startStream(pump, request, signal),
    close: () => pump.close(),
  };
};
