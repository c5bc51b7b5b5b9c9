import { z } from "zod";
import { shown } from "../util/text.js";
import { alpacaPrompt } from "./alpaca-prompt.js";

const filled = (what: string): z.ZodType<string> =>
  z.string({ error: `${what} must be text` }).regex(/\S/, { error: `${what} must not be empty` });

const chatRoles = ["system", "user", "assistant"] as const;

const chatMessage = z.object({ role: z.enum(chatRoles), content: filled("content") });

/** One training row: a prompt and the answer to learn, or a chat whose last message is the answer. */
const plainRow = z.object({ prompt: filled("prompt"), answer: filled("answer") });
const chatRow = z.object({
  messages: z
    .array(chatMessage)
    .min(2)
    .refine((messages) => messages.at(-1)?.role === "assistant", {
      error: 'the last message must have the role "assistant"',
    }),
});
/** An item of LLM-Adapters' or Alpaca's JSON; `output` is what is learnt, LLM-Adapters' `answer` only its label. */
const instructionRow = z.object({
  instruction: filled("instruction"),
  input: z.string().default(""),
  output: filled("output"),
});

export type ChatMessage = z.output<typeof chatMessage>;
interface SourcedRow {
  /** The source of a mix that the row is from. */
  readonly source?: string | undefined;
}
export interface PlainRow extends SourcedRow {
  readonly prompt: string;
  readonly answer: string;
}
export interface ChatRow extends SourcedRow {
  readonly messages: readonly ChatMessage[];
}
export type Row = PlainRow | ChatRow;

/** What is wrong with one field of a row. */
export interface FieldProblem {
  readonly field: string;
  readonly found: string;
  readonly allowed: string;
}

/** A row, or why there is none. */
export type RowReading<Read = Row> = { readonly row: Read } | { readonly problem: FieldProblem };

const formats = '{"prompt", "answer"}, {"messages"} or {"instruction", "input", "output"}';

const fieldAt = (value: unknown, path: readonly PropertyKey[]): unknown => {
  let current = value;
  for (const key of path) {
    if (typeof current !== "object" || current === null) return undefined;
    current = Reflect.get(current, key);
  }
  return current;
};

const pathText = (path: readonly PropertyKey[]): string =>
  path
    .map((key, index) => (typeof key === "number" ? `[${key}]` : `${index === 0 ? "" : "."}${String(key)}`))
    .join("");

const firstProblem = (value: unknown, error: z.ZodError): FieldProblem => {
  const issue = error.issues.at(0);
  const path = issue?.path ?? [];
  const found = fieldAt(value, path);
  return { field: pathText(path), found: shown(found), allowed: issue?.message ?? "a row" };
};

/** Checks one value; a schema's message says what it allows. */
export const parsed = <Output, Read>(
  schema: z.ZodType<Output>,
  value: unknown,
  toRow: (output: Output) => Read,
): RowReading<Read> => {
  const result = schema.safeParse(value);
  return result.success ? { row: toRow(result.data) } : { problem: firstProblem(value, result.error) };
};

/** Reads one row of any of the formats; which one is told by its fields. */
export const readRow = (value: unknown): RowReading => {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return { problem: { field: "", found: shown(value), allowed: `an object: ${formats}` } };
  }
  if ("messages" in value) return parsed(chatRow, value, (row) => row);
  if ("instruction" in value) {
    return parsed(instructionRow, value, ({ instruction, input, output }) => ({
      prompt: alpacaPrompt(instruction, input),
      answer: output,
    }));
  }
  if ("prompt" in value || "answer" in value) return parsed(plainRow, value, (row) => row);
  const keys = Object.keys(value);
  return { problem: { field: "", found: `the fields ${shown(keys)}`, allowed: formats } };
};
