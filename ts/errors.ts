/** Every error that milora raises on purpose, on either side of the bridge. */

/**
 * The closed set of error codes. The part before the slash says whose input or which part failed.
 * `py/milora/errors.py` holds the same list; a test compares the two.
 */
export const errorCodes = [
  "input/invalid-spec",
  "input/unknown-name",
  "input/missing-file",
  "data/bad-row",
  "data/empty",
  "data/not-found",
  "data/unreachable",
  "data/unreadable",
  "model/not-found",
  "model/unreadable",
  "model/unsupported",
  "adapter/not-found",
  "adapter/unreadable",
  "adapter/mismatch",
  "adapter/bad-name",
  "adapter/unsupported",
  "environment/no-python",
  "environment/missing-package",
  "environment/install-failed",
  "bridge/died",
  "bridge/protocol",
  "bridge/timeout",
  "bridge/closed",
  "python/exception",
  "run/exists",
  "run/not-resumable",
  "run/disk",
  "training/non-finite",
  "memory/exhausted",
  "judge/unusable",
  "judge/unreachable",
  "scale/no-room",
  "scale/unreachable",
  "scale/mismatch",
  "scale/lost",
  "cancelled",
  "internal",
] as const;

/** One of {@link errorCodes}. */
export type ErrorCode = (typeof errorCodes)[number];

/** Where an error stands and what would cure it; every field is optional. */
export interface ErrorDetails {
  /** The file the fault was found in. */
  readonly file?: string | undefined;
  /** The 1-based line of `file`. */
  readonly line?: number | undefined;
  /** The JSON path of the fault, such as `method.rank`. */
  readonly path?: string | undefined;
  /** What was found. */
  readonly found?: string | undefined;
  /** What would have been allowed. */
  readonly allowed?: string | undefined;
  /** What to do about it. */
  readonly hint?: string | undefined;
  /** Every problem found, one sentence each, where there is more than one. */
  readonly problems?: readonly string[] | undefined;
  /** What was beneath: another error, such as {@link PythonError}. */
  readonly cause?: unknown;
}

const marker = Symbol.for("milora.error");
const inspectMarker = Symbol.for("nodejs.util.inspect.custom");

/** The details that there are, each on a line; a text of several lines, such as a traceback, stands as it is. */
const detailLines = (error: MiloraError): readonly string[] =>
  Object.entries(error).flatMap(([name, value]: [string, unknown]) => {
    const values: readonly unknown[] = Array.isArray(value) ? value : [value];
    const texts = values.flatMap((each) => (typeof each === "string" || typeof each === "number" ? [`${each}`] : []));
    const text = texts.join("\n").trimEnd();
    if (name === "name" || text === "" || error.message.includes(text)) return [];
    return [text.includes("\n") ? `  ${name}:\n${text.replaceAll(/^/gmu, "    ")}` : `  ${name}: ${text}`];
  });

/** What `console.log` and a notebook's cell show. */
function inspectError(this: MiloraError, _depth: number, options: object, inspect: (...values: unknown[]) => string) {
  const stack = (this.stack ?? String(this)).replace(/^Error\b/u, this.name);
  const cause = this.cause === undefined ? [] : [`  cause: ${inspect(this.cause, options)}`];
  return [stack, ...detailLines(this), ...cause].join("\n");
}

/** The one base class of milora's errors: a code from {@link errorCodes}, a message, and where it happened. */
export class MiloraError extends Error {
  /** The name of the class. */
  override readonly name: string = "MiloraError";
  /** What went wrong, for programs. */
  readonly code: ErrorCode;
  /** Where the code is explained, such as `docs/errors.md#data-bad-row`; `docs/` is in the npm package. */
  readonly docs: string;
  /** The file the fault was found in. */
  readonly file: string | undefined;
  /** The 1-based line of `file`. */
  readonly line: number | undefined;
  /** The JSON path of the fault, such as `method.rank`. */
  readonly path: string | undefined;
  /** What was found. */
  readonly found: string | undefined;
  /** What would have been allowed. */
  readonly allowed: string | undefined;
  /** What to do about it. */
  readonly hint: string | undefined;
  /** Every problem found, one sentence each; empty where there is just the one of the message. */
  readonly problems: readonly string[];

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.docs = `docs/errors.md#${code.replace("/", "-")}`;
    this.file = details.file;
    this.line = details.line;
    this.path = details.path;
    this.found = details.found;
    this.allowed = details.allowed;
    this.hint = details.hint;
    this.problems = details.problems ?? [];
    Object.defineProperty(this, marker, { value: true, enumerable: false });
    Object.defineProperty(this, inspectMarker, { value: inspectError, enumerable: false });
  }

  /** True for a milora error of any copy of the package (two versions in one process, two module formats). */
  static isInstance(error: unknown): error is MiloraError {
    return typeof error === "object" && error !== null && marker in error;
  }
}

/** An exception that Python raised: its type, module and traceback as text; `cause` holds its Python cause, if any. */
export class PythonError extends MiloraError {
  /** The name of the class. */
  override readonly name: string = "PythonError";
  /** The Python class, such as `ValueError`. */
  readonly pythonType: string;
  /** The module of the Python class, such as `builtins`. */
  readonly pythonModule: string;
  /** Python's own traceback, several lines. */
  readonly traceback: string;

  constructor(
    code: ErrorCode,
    message: string,
    details: ErrorDetails & { readonly pythonType: string; readonly pythonModule: string; readonly traceback: string },
  ) {
    super(code, message, details);
    this.pythonType = details.pythonType;
    this.pythonModule = details.pythonModule;
    this.traceback = details.traceback;
  }
}

/** Python ended while it was needed: `exitCode` or `signal` of the process, and the last of its stderr. */
export class BridgeDiedError extends MiloraError {
  /** The name of the class. */
  override readonly name: string = "BridgeDiedError";
  /** The exit code of Python; null where a signal ended it. */
  readonly exitCode: number | null;
  /** The signal that ended Python; null where it exited by itself. */
  readonly signal: string | null;
  /** The last lines that Python wrote to stderr. */
  readonly stderr: string;

  constructor(
    message: string,
    details: ErrorDetails & {
      readonly exitCode: number | null;
      readonly signal: string | null;
      readonly stderr: string;
    },
  ) {
    super("bridge/died", message, details);
    this.exitCode = details.exitCode;
    this.signal = details.signal;
    this.stderr = details.stderr;
  }
}

const inputCodes: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "input/invalid-spec",
  "input/unknown-name",
  "input/missing-file",
  "data/bad-row",
  "data/empty",
  "data/not-found",
  "data/unreadable",
  "model/not-found",
  "model/unreadable",
  "model/unsupported",
  "adapter/not-found",
  "adapter/unreadable",
  "adapter/mismatch",
  "adapter/bad-name",
  "adapter/unsupported",
  "run/exists",
  "run/not-resumable",
  "judge/unusable",
]);

/** The exit code of a program that ends with this error: 2 wrong input, 130 interrupted, 1 anything else. */
export const exitCodeOf = (error: unknown): 1 | 2 | 130 => {
  if (!MiloraError.isInstance(error)) return 1;
  if (error.code === "cancelled") return 130;
  return inputCodes.has(error.code) ? 2 : 1;
};
