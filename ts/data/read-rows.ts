import { extname, resolve } from "node:path";
import { MiloraError } from "../errors.js";
import { readTextFile } from "../util/files.js";
import { counted } from "../util/text.js";
import { rawCsv, rawJsonArray, rawJsonLines, type RawRow } from "./raw-rows.js";
import { readRow, type FieldProblem, type Row, type RowReading } from "./row.js";

const shownProblems = 5;

interface PlacedProblem extends FieldProblem {
  readonly line: number | undefined;
  readonly item: number | undefined;
}

const placeOf = ({ line, item }: PlacedProblem): string =>
  [line === undefined ? undefined : `line ${line}`, item === undefined ? undefined : `item ${item}`]
    .filter((part) => part !== undefined)
    .join(", ");

const sentence = (problem: PlacedProblem): string => {
  const place = placeOf(problem);
  const field = problem.field === "" ? "" : ` ${problem.field}:`;
  return `${place === "" ? "" : `${place}:`}${field} found ${problem.found}, allowed: ${problem.allowed}`.trim();
};

const pathOf = ({ item, field }: PlacedProblem): string | undefined => {
  if (item === undefined) return field === "" ? undefined : field;
  return field === "" ? `[${item}]` : `[${item}].${field}`;
};

/** The error for the malformed rows of a file; `problems` lists the first five of them. */
const badRows = (file: string, first: PlacedProblem, problems: readonly PlacedProblem[]): MiloraError => {
  const listed = problems.slice(0, shownProblems).map(sentence);
  const more = problems.length > shownProblems ? [`and ${problems.length - shownProblems} more`] : [];
  const message = [`${counted(problems.length, "malformed row")} in ${file}; no row is used.`, ...listed, ...more];
  return new MiloraError("data/bad-row", message.join("\n  "), {
    file,
    line: first.line,
    path: pathOf(first),
    found: first.found,
    allowed: first.allowed,
    hint: "Correct or remove these rows.",
    problems: listed,
  });
};

const rawRows = (file: string, text: string): readonly RawRow[] => {
  const extension = extname(file).toLowerCase();
  const first = text.trimStart().charAt(0);
  if (extension === ".csv") return rawCsv(text);
  if (first === "[") return rawJsonArray(text);
  if (first === "{" || [".json", ".jsonl", ".ndjson"].includes(extension)) return rawJsonLines(text);
  return rawCsv(text);
};

/** The rows that `read` makes of raw ones. Errors: `data/empty`; `data/bad-row`, after all rows were checked. */
export const checkedRows = <Read>(
  file: string,
  raw: readonly RawRow[],
  read: (value: unknown) => RowReading<Read>,
): readonly Read[] => {
  const rows: Read[] = [];
  const problems: PlacedProblem[] = [];
  for (const { line, item, value, problem } of raw) {
    const reading = problem === undefined ? read(value) : { problem };
    if ("row" in reading) rows.push(reading.row);
    else problems.push({ ...reading.problem, line, item });
  }
  const first = problems.at(0);
  if (first !== undefined) throw badRows(file, first, problems);
  if (rows.length === 0)
    throw new MiloraError("data/empty", `${file} holds no rows.`, { file, allowed: "at least one row" });
  return rows;
};

/**
 * Reads a data file: LLM-Adapters or Alpaca JSON, `{prompt, answer}` JSONL or CSV, chat JSONL (`messages`).
 * Errors: `input/missing-file`; `data/empty`; `data/bad-row`, after all rows were checked.
 */
export const readRows = async (path: string): Promise<readonly Row[]> => {
  const file = resolve(path);
  const text = await readTextFile(file, "the data file");
  return checkedRows(file, text.trim() === "" ? [] : rawRows(file, text), readRow);
};
