import type { ChildProcess } from "node:child_process";
import type { Readable } from "node:stream";
import type { Death } from "./errors.js";
import { lineSplitter, Tail } from "./lines.js";

const stderrLinesKept = 40;
/** After the exit, how long the rest of stderr may take; a grandchild can hold the pipe open. */
const drainMs = 200;
/** How long Python may live on after it has closed its connection. */
const lonelyMs = 500;

/** Knows whether Python lives, how it died, and what it last said; listens from the tick in which it was started. */
export class ProcessWatch {
  readonly died: Promise<Death>;
  death: Death | undefined;
  readonly #proc: ChildProcess;
  readonly #stderr = new Tail(stderrLinesKept);
  #endIsExpected = false;
  #killedBecause: string | undefined;

  constructor(proc: ChildProcess, onLine: (stream: "stdout" | "stderr", line: string) => void) {
    this.#proc = proc;
    this.#read("stdout", onLine);
    this.#read("stderr", (stream, line) => {
      this.addToTail(line);
      onLine(stream, line);
    });
    this.died = new Promise((resolve) => {
      const settle = (exitCode: number | null, signal: string | null, spawnError?: Error): void => {
        if (this.death !== undefined) return;
        const stderr = this.#stderr.toString();
        this.death = { exitCode, signal, stderr, spawnError, killedBecause: this.#killedBecause };
        resolve(this.death);
      };
      // Other errors (a write to a channel that has just closed) are followed by the exit.
      proc.on("error", (error) => {
        if (proc.pid === undefined) settle(null, null, error);
      });
      // Not the event "close": it does not come after a disconnect from this side.
      const drained = Promise.all([closeOf(proc.stdout), closeOf(proc.stderr)]);
      proc.once("exit", (code, signal) => {
        const timer = setTimeout(() => settle(code, signal), drainMs);
        void drained.then(() => settle(code, signal)).finally(() => clearTimeout(timer));
      });
    });
    proc.once("disconnect", () => this.#onDisconnect());
  }

  /** Python's own captured stderr comes by another way; both belong into the report of a death. */
  addToTail(line: string): void {
    this.#stderr.add(line);
  }

  /** From here on the end is no accident. */
  expectEnd(): void {
    this.#endIsExpected = true;
  }

  /** Ends Python at once; `because` is a clause of the error's message. */
  kill(because: string): void {
    this.#killedBecause ??= because;
    this.#proc.kill("SIGKILL");
  }

  #onDisconnect(): void {
    if (this.#endIsExpected) return;
    const timer = setTimeout(() => this.kill("it closed its connection to Node"), lonelyMs);
    void this.died.then(() => clearTimeout(timer));
  }

  #read(name: "stdout" | "stderr", onLine: (stream: "stdout" | "stderr", line: string) => void): void {
    const splitter = lineSplitter((line) => onLine(name, line));
    this.#proc[name]?.on("data", (chunk: Buffer) => splitter.push(chunk));
    this.#proc[name]?.once("end", () => splitter.end());
  }
}

const closeOf = (stream: Readable | null): Promise<void> =>
  new Promise((resolve) => {
    if (stream === null) resolve();
    else stream.once("close", resolve);
  });
