import { z } from "zod";
import type { CallOptions } from "../backend/backend.js";
import type { MiloraError } from "../errors.js";
import { CallRunner, type SentCall } from "./call-runner.js";
import { CancelFlag } from "./cancel-flag.js";
import { Canceller } from "./canceller.js";
import { childEnvironment } from "./child-environment.js";
import { closedError, diedError, openTimeoutError, protocolError, startError } from "./errors.js";
import { Hold } from "./hold.js";
import { type FullSessionOptions, type LogLine, normaliseOptions, type SessionOptions } from "./options.js";
import { ProcessWatch } from "./process-watch.js";
import { loadPythonia, type Message, type Pythonia, type PythonProxy } from "./pythonia.js";
import { hardenRawProxies } from "./raw-proxies.js";
import { Transport } from "./transport.js";

/** How long Python may take to end by itself once its connection is closed. */
const closeMs = 1000;

const eventSchema = z.discriminatedUnion("type", [
  z.object({ type: z.literal("progress"), stage: z.string(), done: z.number(), total: z.number() }),
  z.object({
    type: z.literal("log"),
    stream: z.enum(["stdout", "stderr", "log"]),
    level: z.enum(["debug", "info", "warning", "error"]),
    text: z.string(),
  }),
]);

/** One Python process of its own, and everything that can be asked of it. */
export class Session implements AsyncDisposable {
  readonly #options: FullSessionOptions;
  readonly #flag = new CancelFlag();
  readonly #pythonia: Pythonia;
  readonly #watch: ProcessWatch;
  readonly #hold: Hold;
  readonly #transport: Transport;
  readonly #runner: CallRunner;
  readonly #isOwnProxy: (value: unknown) => boolean;
  #server: PythonProxy;
  /** Set once nothing more can be asked. */
  #endError: (() => MiloraError) | undefined;
  #closing: Promise<void> | undefined;

  /** @internal Use {@link openSession}. */
  constructor(options: FullSessionOptions) {
    this.#options = options;
    this.#pythonia = this.#load();
    const { bridge, com } = this.#pythonia;
    this.#watch = new ProcessWatch(com.proc, (stream, text) => this.#log({ stream, level: levels[stream], text }));
    bridge.loop.unref();
    this.#hold = new Hold(com.proc);
    this.#transport = new Transport({ com, hold: this.#hold, onEvent: (message) => this.#onEvent(message) });
    this.#isOwnProxy = hardenRawProxies(this.#pythonia, {
      endError: () => this.#endError?.() ?? protocolError("Python does not answer."),
      onLostError: (error) =>
        this.#log({ stream: "log", level: "error", text: `An assignment failed: ${String(error)}` }),
    });
    this.#runner = new CallRunner({
      canceller: this.#makeCanceller(),
      hold: this.#hold,
      send: (op, payload, id) => this.#send(op, payload, id),
    });
    void this.#watch.died.then((death) => this.#onEnd(() => diedError(death, options.python)));
  }

  /** Process id of Python; undefined if it could not be started. */
  get pid(): number | undefined {
    return this.#pythonia.com.proc.pid;
  }

  /** True once nothing more can be asked: after {@link close}, or when Python has died. */
  get closed(): boolean {
    return this.#endError !== undefined;
  }

  /** @internal Waits until Python is ready. */
  async start(): Promise<void> {
    const { openTimeoutMs, opModules, python } = this.#options;
    this.#hold.add();
    const timer = setTimeout(() => {
      this.#endError = () => openTimeoutError(python, openTimeoutMs);
      this.#watch.kill("it did not start in time");
    }, openTimeoutMs);
    try {
      this.#server = await this.#pythonia.builtins.python("milora.server.main");
      await this.#server.start(JSON.stringify({ flag: this.#flag.path, parent: process.pid }));
      await this.#server.load_extensions(JSON.stringify(opModules));
      this.#flag.unlink();
    } catch (error) {
      await this.close();
      throw error;
    } finally {
      clearTimeout(timer);
      this.#hold.drop();
    }
  }

  /**
   * Runs an operation: JSON in, JSON out. Calls run one at a time, in order. NaN, infinities and -0 pass exactly;
   * integers beyond 2^53 - 1 are bigints on this side.
   * @throws MiloraError `cancelled`, `bridge/timeout`, `bridge/died`, `bridge/closed`, or what Python raised.
   */
  async call(op: string, input: unknown, options: CallOptions = {}): Promise<unknown> {
    this.#requireOpen();
    return this.#runner.run(op, input, options);
  }

  /** Imports a Python module by name and gives it raw: see {@link PythonProxy} for how to use it. */
  async python(moduleName: string): Promise<PythonProxy> {
    this.#requireOpen();
    return this.#pythonia.builtins.python(moduleName);
  }

  /** Keeps a raw object (or a JavaScript function) alive in Python and gives the id that operations know it by. */
  async adopt(proxy: PythonProxy): Promise<string> {
    this.#requireOpen();
    if (typeof proxy !== "function" || (proxy.ffid !== undefined && !this.#isOwnProxy(proxy))) {
      throw protocolError("Only a raw object of this session, or a JavaScript function, can be adopted.", {
        hint: "Get one from session.python(…); plain values are passed as they are.",
      });
    }
    return String(await this.#server.adopt(proxy));
  }

  /** The raw object of an id. */
  async expose(id: string): Promise<PythonProxy> {
    this.#requireOpen();
    return this.#server.expose(id);
  }

  /** Lets go of an adopted object. */
  async release(id: string): Promise<void> {
    this.#requireOpen();
    await this.#server.release(id);
  }

  /** Ends Python; calls that wait or run reject with `bridge/closed`. A second call waits for the first. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    this.#endError = closedError;
    if (this.#watch.death !== undefined) return;
    const { proc } = this.#pythonia.com;
    this.#hold.add();
    this.#watch.expectEnd();
    this.#transport.refuse();
    this.#runner.abortAll(closedError());
    this.#flag.raise();
    if (proc.connected) proc.disconnect();
    const timer = setTimeout(() => this.#watch.kill("the session was closed"), closeMs);
    await this.#watch.died;
    clearTimeout(timer);
    this.#hold.drop();
  }

  #load(): Pythonia {
    try {
      return loadPythonia(this.#options.python, childEnvironment(this.#options));
    } catch (error) {
      this.#flag.close();
      throw startError(this.#options.python, error);
    }
  }

  #onEnd(error: () => MiloraError): void {
    this.#endError ??= error;
    this.#pythonia.bridge.end();
    this.#flag.close();
    this.#transport.end();
  }

  #requireOpen(): void {
    if (this.#endError !== undefined) throw this.#endError();
  }

  #send(op: string, payload: string, id: number): SentCall {
    const reply: Promise<unknown> = this.#server.run_op(op, payload, id);
    // pythonia writes the request before it returns.
    const request = this.#transport.lastRequest;
    return { reply, isServed: () => this.#transport.isServing(request) };
  }

  #makeCanceller(): Canceller {
    return new Canceller({
      flag: this.#flag,
      interruptAfterMs: this.#options.interruptAfterMs,
      killAfterMs: this.#options.killAfterMs,
      interrupt: () => this.#pythonia.com.proc.kill("SIGUSR1"),
      kill: (because) => this.#watch.kill(because),
    });
  }

  #onEvent(message: Message): void {
    const event = eventSchema.safeParse(message.event);
    if (!event.success) return;
    const id = message.id ?? 0;
    if (event.data.type === "progress") {
      this.#runner.deliver(id, event.data);
      return;
    }
    const { type, stream, level, text } = event.data;
    if (stream === "stderr") this.#watch.addToTail(text);
    this.#log({ stream, level, text });
    this.#runner.deliver(id, { type, level, text });
  }

  #log(line: LogLine): void {
    this.#options.onLog(line);
  }
}

const levels = { stdout: "info", stderr: "warning" } as const;

/**
 * Starts a Python of its own, with milora's server in it; torch is not imported yet.
 * @throws MiloraError `environment/no-python`, `bridge/died` or `bridge/timeout` where it does not come up.
 */
export const openSession = async (options: SessionOptions): Promise<Session> => {
  const session = new Session(normaliseOptions(options));
  await session.start();
  return session;
};
