import { MiloraError, exitCodeOf } from "../errors.js";

/** What every command is told beside its own options. */
export interface CommandContext {
  /** Programs read stdout: one JSON document and nothing else. */
  readonly json: boolean;
  /** Aborted by the first Ctrl-C. */
  readonly signal: AbortSignal;
}

/** Writes a command's result: JSON for programs, else the lines made for people. */
export const printResult = ({ json }: CommandContext, value: unknown, lines: () => readonly string[]): void => {
  process.stdout.write(json ? `${JSON.stringify(value)}\n` : `${lines().join("\n")}\n`);
};

/** A line for people while a command works. */
export const tell = (line: string): void => {
  process.stderr.write(`${line}\n`);
};

const causeLines = (error: unknown): readonly string[] => {
  if (!(error instanceof Error)) return [];
  const traceback = "traceback" in error && typeof error.traceback === "string" ? [error.traceback.trimEnd()] : [];
  return [...traceback, ...causeLines(error.cause)];
};

/** Tells an error on stderr (and as JSON on stdout for programs) and returns the exit code. */
export const printError = (error: unknown, json: boolean): number => {
  const known = MiloraError.isInstance(error);
  const message = error instanceof Error ? error.message : String(error);
  const code = known ? error.code : "internal";
  tell(`milora: ${message}`);
  if (known && error.hint !== undefined) tell(error.hint);
  if (known && code !== "cancelled") tell(`More in the package milora: ${error.docs}`);
  if (code === "internal" || code === "python/exception") {
    for (const line of causeLines(error)) tell(line);
    if (!known && error instanceof Error && error.stack !== undefined) tell(error.stack);
  }
  if (json) {
    const { file, line, path, found, allowed, hint, problems, docs } = known ? error : {};
    process.stdout.write(
      `${JSON.stringify({ error: { code, message, file, line, path, found, allowed, hint, problems, docs } })}\n`,
    );
  }
  return exitCodeOf(error);
};

/** A table in plain text: columns padded, numbers to the right. */
export const table = (rows: readonly (readonly string[])[]): readonly string[] => {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? "").length)));
  const numeric = /^[-+]?[\d.,]+( ?%)?$/;
  return rows.map((row) =>
    row
      .map((cell, column) =>
        numeric.test(cell) ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0),
      )
      .join("  ")
      .trimEnd(),
  );
};

export const percent = (share: number | null): string => (share === null ? "-" : `${(100 * share).toFixed(1)} %`);
