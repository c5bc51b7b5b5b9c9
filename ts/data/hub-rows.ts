import { join } from "node:path";
import type { HubData } from "../spec/data.js";
import { hubFolder, hubPlaceText, type Hub, type HubPart, type HubRecord } from "./hub.js";
import { checkedRows, readRows } from "./read-rows.js";
import { readRow, type Row, type RowReading } from "./row.js";
import type { RawRow } from "./raw-rows.js";

const file = "rows.jsonl";

/** A problem is told by the column that it is in. */
const readColumns = ({ prompt, answer }: HubData["columns"], value: unknown): RowReading => {
  const at = (column: string): unknown =>
    typeof value === "object" && value !== null ? Reflect.get(value, column) : undefined;
  const reading = readRow({ prompt: at(prompt), answer: at(answer) });
  if ("row" in reading) return reading;
  const { problem } = reading;
  return { problem: { ...problem, field: problem.field === "prompt" ? prompt : answer } };
};

/**
 * The rows of a split of the user's own choice on the hub, by the names of its columns.
 * Errors: those of {@link hubFolder}; `data/bad-row` with item and column.
 */
export const readHubRows = async (
  hub: Hub,
  data: Pick<HubData, "hub" | "config" | "revision" | "columns">,
  split: string,
): Promise<{ readonly rows: readonly Row[]; readonly record: HubRecord }> => {
  const { hub: id, config = null, revision, columns } = data;
  const part: HubPart = { id, config, split, revision, columns: [...new Set([columns.prompt, columns.answer])] };
  const normalise = (parts: readonly (readonly RawRow[])[]) => {
    const rows = checkedRows(hubPlaceText(part), parts.flat(), (value) => readColumns(columns, value));
    return { files: { [file]: rows.map((row) => `${JSON.stringify(row)}\n`).join("") }, dropped: 0 };
  };
  const name = `${split}-${columns.prompt}-${columns.answer}`;
  const { folder, record } = await hubFolder(hub, { name, parts: [part], normalise });
  return { rows: await readRows(join(folder, file)), record };
};
