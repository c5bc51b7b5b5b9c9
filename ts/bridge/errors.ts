import { BridgeDiedError, MiloraError } from "../errors.js";

/** How a Python process ended. */
export interface Death {
  readonly exitCode: number | null;
  readonly signal: string | null;
  /** The last lines of stderr. */
  readonly stderr: string;
  /** Set where it never started. */
  readonly spawnError?: Error | undefined;
  /** Set where this side killed it, with the reason as a clause. */
  readonly killedBecause?: string | undefined;
}

const reopenHint = "Open a new session: models and adapters that were loaded in this one are lost.";

const endOf = ({ exitCode, signal, killedBecause }: Death): string => {
  if (killedBecause !== undefined) return `Python was killed because ${killedBecause}.`;
  if (signal === "SIGKILL")
    return "Python was killed by SIGKILL (by a person, or by the system because memory ran out).";
  if (signal === "SIGSEGV") return "Python crashed with a segmentation fault (SIGSEGV).";
  return signal === null ? `Python ended with exit code ${exitCode}.` : `Python was ended by ${signal}.`;
};

/** The error of an interpreter that the system cannot start. */
export const startError = (python: string, cause: unknown): MiloraError =>
  new MiloraError("environment/no-python", `Python cannot be started from ${python}.`, {
    file: python,
    found: cause instanceof Error ? cause.message : String(cause),
    hint: "Set MILORA_PYTHON to a Python 3.11 to 3.13, or unset it so that milora chooses one.",
    cause,
  });

/** The error of everything that needs a Python that is no more. */
export const diedError = (death: Death, python: string): MiloraError => {
  if (death.spawnError !== undefined) return startError(python, death.spawnError);
  const tail = death.stderr === "" ? "" : `\nThe last of its stderr:\n${death.stderr}`;
  return new BridgeDiedError(`${endOf(death)}${tail}`, {
    exitCode: death.exitCode,
    signal: death.signal,
    stderr: death.stderr,
    hint: reopenHint,
  });
};

export const closedError = (): MiloraError =>
  new MiloraError("bridge/closed", "The session is closed.", { hint: "Open a new session." });

export const cancelledError = (op: string, reason: unknown): MiloraError =>
  new MiloraError("cancelled", `The call of ${op} was cancelled.`, { cause: reason });

export const timeoutError = (op: string, milliseconds: number): MiloraError =>
  new MiloraError("bridge/timeout", `The call of ${op} took longer than ${milliseconds} ms and was ended.`, {
    allowed: `${milliseconds} ms`,
    hint: "Give it more time with timeoutMs, or do less in one call.",
  });

export const openTimeoutError = (python: string, milliseconds: number): MiloraError =>
  new MiloraError("bridge/timeout", `Python (${python}) did not start within ${milliseconds} ms.`, {
    file: python,
    allowed: `${milliseconds} ms`,
    hint: "Try again: a first start reads Python's files from a cold disk. `milora doctor` looks at it by itself.",
  });

export const protocolError = (message: string, details: { hint?: string; cause?: unknown } = {}): MiloraError =>
  new MiloraError("bridge/protocol", message, details);

/** An error of this side in the form in which Python's errors come. */
export const errorOfUnknown = (error: unknown): string => {
  const [type, message] = error instanceof Error ? [error.name, error.message] : ["Error", String(error)];
  return JSON.stringify({
    e: [{ type, module: "javascript", message, traceback: "", code: "bridge/protocol" }],
  });
};
