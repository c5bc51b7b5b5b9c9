import { z } from "zod";
import type { DecodeBenchRow } from "../../client/bench.js";
import { parseWith } from "../../spec/parse.js";
import { openSession } from "../open-session.js";
import { printResult, table, type CommandContext } from "../output.js";
import {
  machine,
  mebibyteCell,
  numberList,
  ratioCell,
  sameCell,
  stageProgress,
  textOptions,
  textRemarks,
} from "./bench-shared.js";

const optionsSchema = z.object({
  ...textOptions,
  beams: numberList(1),
  topK: numberList(1),
  peer: z.enum(["hf"]).optional(),
  adapter: z.array(z.string()).default([]),
  compile: z.boolean().default(false),
  peak: z.boolean(),
});

const cells = (row: DecodeBenchRow): readonly string[] => [
  row.adapter === null ? row.method : `${row.method} ${row.adapter}`,
  row.topK === null ? "-" : String(row.topK),
  String(row.beams),
  row.compiled ? `${row.engine}, compiled` : row.engine,
  row.tokensPerSecond.toFixed(1),
  ratioCell(row.ratioToBase),
  ratioCell(row.ratioToHfBase),
  (1000 * row.prefillSeconds).toFixed(0),
  mebibyteCell(row.peakBytes),
  sameCell(row.sameTokens),
];

const header = [
  "method",
  "k",
  "beams",
  "engine",
  "tokens/s",
  "to base",
  "to hf base",
  "prefill ms",
  "peak MiB",
  "same",
];

/** Why methods run in transformers, each reason once. */
const hfRemarks = (rows: readonly DecodeBenchRow[]): readonly string[] =>
  [...new Map(rows.map(({ method, hfBecause }) => [method, hfBecause] as const))].flatMap(([method, reason]) =>
    reason === null ? [] : [`${method} runs in transformers: ${reason}`],
  );

/** `milora bench decode`: how fast one prompt's text is written, by method, beams and engine. */
export const benchDecode = async (context: CommandContext, raw: object): Promise<void> => {
  const { model, device, dtype, adapter, ...options } = parseWith(optionsSchema, raw, { what: "The command" });
  await using milora = await openSession({ model, device, dtype });
  const { rows, slowBecause } = await milora.benchDecode({
    ...options,
    adapters: adapter,
    signal: context.signal,
    onProgress: stageProgress(),
  });
  const where = { ...machine(), ...(await milora.placement()) };
  const { promptTokens, newTokens, rounds } = options;
  printResult(context, { rows, slowBecause, promptTokens, newTokens, rounds, machine: where }, () => [
    ...table([header, ...rows.map(cells)]),
    "",
    `${newTokens} tokens behind a prompt of ${promptTokens}, ${rounds} rounds, ${where.dtype} on ${where.device}; ${where.cpu}, ${where.cores} cores.`,
    "to base: against the base with the same beams in the same engine, compiled alike; same: the tokens of both engines, or compiled and not.",
    ...hfRemarks(rows),
    ...textRemarks(rows, { newTokens, dtype: where.dtype, slowBecause }),
  ]);
};
