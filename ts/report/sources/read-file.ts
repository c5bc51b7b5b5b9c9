import { basename } from "node:path";
import { z } from "zod";
import { MiloraError } from "../../errors.js";
import { parseWith } from "../../spec/parse.js";
import { readJsonFile } from "../../util/files.js";
import { isRecord } from "../../util/records.js";
import type { Datum } from "../report-model.js";
import { type BenchInput, noInputs, type ReportInputs, type RoutingInput } from "./inputs.js";
import { resultsOf } from "./read-result.js";

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

const taskRouting = z.object({
  task: z.string(),
  prompts: z.number().min(1),
  layers: z.array(z.record(z.string(), z.number())),
});

const promptRouting = z.object({
  prompt: z.string(),
  routing: z
    .object({ experts: z.array(z.array(z.string())), gates: z.array(z.array(z.number())) })
    .nullable()
    .optional(),
});

const ofTasks = (value: unknown, file: string): readonly RoutingInput[] =>
  parseWith(z.array(taskRouting), value, { what: "The file of routing figures", file }).map(
    ({ task, prompts, layers }) => ({
      name: task,
      measure: "share of prompts",
      layers: layers.map((layer) =>
        Object.fromEntries(Object.entries(layer).map(([expert, count]) => [expert, count / prompts])),
      ),
    }),
  );

const ofPrompts = (value: unknown, file: string): readonly RoutingInput[] =>
  parseWith(z.array(promptRouting), value, { what: "The file of generated texts", file }).flatMap(
    ({ prompt, routing }): readonly RoutingInput[] => {
      if (routing === undefined || routing === null) return [];
      const layers = routing.experts.map((experts, layer) =>
        Object.fromEntries(experts.map((expert, place) => [expert, routing.gates[layer]?.[place] ?? 1])),
      );
      return [{ name: prompt.replaceAll(/\s+/g, " ").trim(), measure: "gate", layers }];
    },
  );

const routingOf = (value: unknown, file: string): readonly RoutingInput[] | undefined => {
  if (Array.isArray(value)) return ofTasks(value, file);
  if (!isRecord(value)) return undefined;
  if (Array.isArray(value["routing"])) return ofTasks(value["routing"], file);
  return Array.isArray(value["outputs"]) ? ofPrompts(value["outputs"], file) : undefined;
};

/**
 * Reads a JSON file of results, of a bench, or of routing.
 * @throws MiloraError `input/missing-file`; `input/invalid-spec` for anything else.
 */
export const readReportFile = async (file: string): Promise<ReportInputs> => {
  const value = await readJsonFile(file);
  const kind = isRecord(value) && Array.isArray(value["rows"]) ? benchKind(value["rows"][0]) : undefined;
  if (isRecord(value) && kind !== undefined) return { ...noInputs, benches: [benchOf(value, kind, file)] };
  if (isRecord(value) && ("results" in value || "task" in value)) {
    const results = resultsOf(value, file).map((result) => ({ name: basename(file), result }));
    return { ...noInputs, results };
  }
  const routing = routingOf(value, file);
  if (routing !== undefined) return { ...noInputs, routing };
  throw new MiloraError("input/invalid-spec", `${file} holds nothing that a report shows.`, {
    file,
    allowed: "JSON of eval --outputs, bench --json, generate --explain --json, or of milora.routing",
  });
};
