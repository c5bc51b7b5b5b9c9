import { MiloraError } from "../errors.js";
import type { StreamedText, StreamRequest, TextEngine, TextStream } from "../generate/text-engine.js";
import { counted } from "../util/text.js";
import type { AdapterNames } from "./adapter-names.js";

/** A piece of a text. */
export interface TextChunk {
  /** What is new of the text. */
  readonly text: string;
}

/** A text while it is written: its chunks in order, for one reader, and the whole. A reader that stops early ends it. */
export interface ChunkStream extends AsyncIterable<TextChunk> {
  /** The whole text; rejects where it could not be written. */
  readonly result: Promise<StreamedText>;
}

async function* chunksOf(started: Promise<TextStream>): AsyncGenerator<TextChunk, void, void> {
  for await (const text of await started) yield { text };
}

/** The streams of a session: an engine that is opened for the first of them and holds the tenants that were asked for. */
export class SessionStreams {
  readonly #openEngine: () => Promise<TextEngine>;
  readonly #names: () => Promise<AdapterNames>;
  readonly #resident = new Map<string, Promise<void>>();
  #engine: Promise<TextEngine> | undefined;
  #underWay = 0;

  constructor(options: {
    readonly openEngine: () => Promise<TextEngine>;
    readonly names: () => Promise<AdapterNames>;
  }) {
    this.#openEngine = options.openEngine;
    this.#names = options.names;
  }

  /** Asks for a text; whatever goes wrong rejects its `result` and its chunks. */
  stream(request: StreamRequest, signal: AbortSignal | undefined): ChunkStream {
    this.#underWay += 1;
    const started = this.#start(request, signal);
    const write = async (): Promise<StreamedText> => {
      try {
        return { ...(await (await started).result), tenant: request.tenant ?? null };
      } finally {
        this.#underWay -= 1;
      }
    };
    const result = write();
    // Who reads the chunks need not wait for the result as well.
    result.catch(() => undefined);
    return { result, [Symbol.asyncIterator]: () => chunksOf(started) };
  }

  /** Lets the engine forget adapters that the session has no more; texts under way end with them. */
  async tidy(): Promise<void> {
    if (this.#engine === undefined) return;
    const [engine, names] = await Promise.all([this.#engine, this.#names()]);
    const current = new Set(names.names.map((name) => names.inner(name)));
    for (const adapter of [...this.#resident.keys()].filter((held) => !current.has(held))) {
      this.#resident.delete(adapter);
      await engine.unload(adapter);
    }
  }

  /**
   * Closes the engine, so that another can be opened.
   * @throws MiloraError `input/invalid-spec` while a text is under way.
   */
  async release(): Promise<void> {
    if (this.#underWay > 0)
      throw new MiloraError(
        "input/invalid-spec",
        `milora.stream is writing ${counted(this.#underWay, "text")}; one engine runs at a time.`,
        { hint: "Wait for them, or abort them." },
      );
    const engine = this.#engine;
    this.#engine = undefined;
    this.#resident.clear();
    await (await engine)?.close();
  }

  async #start(request: StreamRequest, signal: AbortSignal | undefined): Promise<TextStream> {
    const names = await this.#names();
    const adapter = names.inner(request.tenant) ?? undefined;
    const engine = await this.#opened();
    if (adapter !== undefined) await this.#hold(engine, adapter, names.folder(request.tenant) ?? adapter);
    return engine.stream({ ...request, tenant: adapter }, { signal });
  }

  #opened(): Promise<TextEngine> {
    this.#engine ??= this.#openEngine().catch((error: unknown) => {
      this.#engine = undefined;
      throw error;
    });
    return this.#engine;
  }

  /** An inner name stands for one version of an adapter, so that it is loaded once. */
  async #hold(engine: TextEngine, adapter: string, folder: string): Promise<void> {
    const held = this.#resident.get(adapter) ?? engine.load(adapter, folder);
    this.#resident.set(adapter, held);
    try {
      await held;
    } catch (error) {
      this.#resident.delete(adapter);
      throw error;
    }
  }
}
