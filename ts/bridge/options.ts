/** One line that Python, a library in it, or an operation wrote. */
export interface LogLine {
  /** `log`: Python's `logging`, `warnings` or an operation's `call.log`. */
  readonly stream: "stdout" | "stderr" | "log";
  readonly level: "debug" | "info" | "warning" | "error";
  readonly text: string;
}

export interface SessionOptions {
  /** Path of the Python interpreter. */
  readonly python: string;
  /** Folders that Python imports from, after milora's own. */
  readonly pythonPath?: readonly string[] | undefined;
  /** Python modules with operations of your own: each has `OPS`, a dict of names and functions `(dict, Call) -> dict`. */
  readonly opModules?: readonly string[] | undefined;
  /** Environment variables for Python, on top of this process's own. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** Takes every line of output; without it they are dropped (the last of stderr is kept for errors). */
  readonly onLog?: ((line: LogLine) => void) | undefined;
  /** Milliseconds that Python may take to start; 60,000 by default. */
  readonly openTimeoutMs?: number | undefined;
  /** Milliseconds from an abort to SIGUSR1, which interrupts Python code that never looks at the flag; 2,000 by default. */
  readonly interruptAfterMs?: number | undefined;
  /** Milliseconds from SIGUSR1 to SIGKILL, which ends Python and the session; 10,000 by default. */
  readonly killAfterMs?: number | undefined;
}

/** Session options with every default filled in. */
export interface FullSessionOptions {
  readonly python: string;
  readonly pythonPath: readonly string[];
  readonly opModules: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly onLog: (line: LogLine) => void;
  readonly openTimeoutMs: number;
  readonly interruptAfterMs: number;
  readonly killAfterMs: number;
}

export const normaliseOptions = (options: SessionOptions): FullSessionOptions => ({
  python: options.python,
  pythonPath: options.pythonPath ?? [],
  opModules: options.opModules ?? [],
  env: options.env ?? {},
  onLog: options.onLog ?? (() => {}),
  openTimeoutMs: options.openTimeoutMs ?? 60_000,
  interruptAfterMs: options.interruptAfterMs ?? 2_000,
  killAfterMs: options.killAfterMs ?? 10_000,
});
