import { z } from "zod";
import type { TenantBenchRow } from "../../client/bench.js";
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
  topK: z.int().min(1),
  tenants: numberList(1),
  rowsPerTenant: numberList(1),
  peer: z.enum(["peft", "none"]),
});

const cells = (row: TenantBenchRow): readonly string[] => [
  row.method,
  String(row.tenants),
  String(row.rowsPerTenant),
  row.engine,
  row.tokensPerSecond.toFixed(1),
  row.baseTokensPerSecond.toFixed(1),
  ratioCell(row.ratioToBase),
  ratioCell(row.expectedRatio),
  ratioCell(row.ratioToPeft),
  mebibyteCell(row.stepBytes.base),
  mebibyteCell(row.stepBytes.adapters),
  mebibyteCell(row.stepBytes.keysAndValues),
  sameCell(row.sameTokens),
];

const header = [
  "method",
  "tenants",
  "rows each",
  "engine",
  "tokens/s",
  "base tokens/s",
  "to base",
  "by bytes",
  "to peft",
  "base MiB",
  "adapters MiB",
  "KV MiB",
  "same",
];

/** `milora bench tenants`: how fast batches of many tenants are written. */
export const benchTenants = async (context: CommandContext, raw: object): Promise<void> => {
  const { model, device, dtype, ...options } = parseWith(optionsSchema, raw, { what: "The command" });
  await using milora = await openSession({ model, device, dtype });
  const { rows, skipped, slowBecause } = await milora.benchTenants({
    ...options,
    signal: context.signal,
    onProgress: stageProgress(),
  });
  const where = { ...machine(), ...(await milora.placement()) };
  const { promptTokens, newTokens, rounds, topK } = options;
  const asked = { promptTokens, newTokens, rounds, topK };
  printResult(context, { rows, skipped, slowBecause, ...asked, machine: where }, () => [
    ...table([header, ...rows.map(cells)]),
    "",
    `${newTokens} tokens behind prompts of ${promptTokens}, k = ${topK}, ${rounds} rounds, ${where.dtype} on ${where.device}; ${where.cpu}, ${where.cores} cores.`,
    "to base: against the engine's own base at the same batch; by bytes: that ratio if what a step must read were all.",
    ...skipped.map(({ tenants, engine, reason }) => `${tenants} tenants, ${engine}: not measured. ${reason}`),
    ...textRemarks(rows, { newTokens, dtype: where.dtype, slowBecause }),
  ]);
};
