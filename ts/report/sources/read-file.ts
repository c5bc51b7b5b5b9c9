import { basename } from "node:path";
import { z } from "zod";
import { MiloraError } from "../../errors.js";
import { parseWith } from "../../spec/parse.js";
import { readJsonFile } from "../../util/files.js";
import { isRecord } from "../../util/records.js";
import type { Datum } from "../report-model.js";
import { type BenchInput, noInputs, type ReportInputs } from "./inputs.js";
import { judgingOf } from "./read-judging.js";
import { resultsOf } from "./read-result.js";
import { routingOf } from "./read-routing.js";

const rateOfBase = { tokensPerSecond: z.number(), ratioToBase: z.number().nullable().default(null) };
const peakBytes = z.number().nullable().default(null);
const topK = z.number().nullable().default(null);

/** The rows that each bench prints, as far as they are shown. */
const benchRows = {
  decode: z.object({
    method: z.string(),
    topK,
    beams: z.number(),
    engine: z.string(),
    ...rateOfBase,
    peakBytes,
  }),
  tenants: z.object({
    method: z.string().default("lora"),
    topK,
    tenants: z.number(),
    rowsPerTenant: z.number(),
    engine: z.string(),
    ...rateOfBase,
  }),
  train: z.object({
    method: z.string(),
    engine: z.string(),
    attention: z.string().default("-"),
    tokensPerRow: z.number(),
    tokensPerSecond: z.number(),
    ratioToPeer: z.number().nullable().default(null),
    peakBytes,
  }),
  bridge: z.object({ what: z.string(), microseconds: z.number(), ratio: z.number().nullable().default(null) }),
} as const;

/** By the field that only this bench's rows have. */
const benchKind = (row: unknown): BenchInput["kind"] | undefined => {
  if (!isRecord(row)) return undefined;
  if ("beams" in row) return "decode";
  if ("tenants" in row) return "tenants";
  if ("tokensPerRow" in row) return "train";
  return "microseconds" in row ? "bridge" : undefined;
};

const machineText = (machine: unknown): string =>
  isRecord(machine)
    ? Object.entries(machine)
        .filter(([, value]) => ["string", "number"].includes(typeof value))
        .map(([name, value]) => `${name} ${String(value)}`)
        .join(", ")
    : "unknown";

const benchOf = (value: Record<string, unknown>, kind: BenchInput["kind"], file: string): BenchInput => {
  const schema = z.object({ rows: z.array(benchRows[kind]) });
  const rows: readonly Datum[] = parseWith(schema, value, { what: "The bench's file", file }).rows;
  return { kind, name: basename(file), rows, machine: machineText(value["machine"]) };
};

/** What a JSON file holds for a report; nothing where it is of no kind that is known. */
export const inputsOfFile = async (file: string): Promise<ReportInputs | undefined> => {
  const value = await readJsonFile(file);
  const kind = isRecord(value) && Array.isArray(value["rows"]) ? benchKind(value["rows"][0]) : undefined;
  if (isRecord(value) && kind !== undefined) return { ...noInputs, benches: [benchOf(value, kind, file)] };
  const judging = judgingOf(value, file, basename(file));
  if (judging !== undefined) return { ...noInputs, judgings: [judging] };
  const routing = routingOf(value, file);
  if (routing !== undefined) return { ...noInputs, routing };
  if (!isRecord(value) || !("results" in value || "task" in value)) return undefined;
  const results = resultsOf(value, file).map((result) => ({ name: basename(file), result }));
  return { ...noInputs, results };
};

/**
 * Reads a JSON file of results, of a judge, of a bench, or of routing.
 * @throws MiloraError `input/missing-file`; `input/invalid-spec` for anything else.
 */
export const readReportFile = async (file: string): Promise<ReportInputs> => {
  const inputs = await inputsOfFile(file);
  if (inputs !== undefined) return inputs;
  throw new MiloraError("input/invalid-spec", `${file} holds nothing that a report shows.`, {
    file,
    allowed: "JSON of eval --outputs, judge, bench --json, routing --json or --out, or generate --explain --json",
  });
};
