import { z } from "zod";
import { parseWith } from "../../spec/parse.js";
import { openSession } from "../open-session.js";
import { printResult, table, type CommandContext } from "../output.js";
import { benchOptions, machine, mebibyteCell, numberList, ratioCell, stageProgress } from "./bench-shared.js";

const optionsSchema = z.object({
  ...benchOptions,
  tokens: numberList(2),
  batch: z.int().min(1),
  compile: z.boolean().default(false),
  curve: z.int().min(1).optional(),
});

/** `milora bench train`: the speed and memory of training, ours and that of transformers' Trainer with PEFT's LoRA. */
export const benchTrain = async (context: CommandContext, raw: object): Promise<void> => {
  const { model, device, dtype, curve, ...options } = parseWith(optionsSchema, raw, { what: "The command" });
  await using milora = await openSession({ model, device, dtype });
  const rows = await milora.benchTrain({ ...options, signal: context.signal, onProgress: stageProgress("steps") });
  const where = { ...machine(), ...(await milora.placement()) };
  await milora.close();
  const curves = curve === undefined ? undefined : await loss(context, { model, device, curve, ...options });
  printResult(context, { rows, ...(curves === undefined ? {} : { curve: curves }), machine: where }, () => [
    ...table([
      ["method", "engine", "attention", "tokens", "tokens/s", "to peer", "to eager peer", "step to LoRA", "peak MiB"],
      ...rows.map((row) => [
        row.method,
        row.compiled ? `${row.engine}, compiled` : row.engine,
        row.attention,
        String(row.tokensPerRow),
        row.tokensPerSecond.toFixed(0),
        ratioCell(row.ratioToPeer),
        ratioCell(row.ratioToEagerPeer),
        ratioCell(row.stepToLora),
        mebibyteCell(row.peakBytes),
      ]),
    ]),
    "",
    `${options.batch} rows a step, ${options.rounds} rounds, ${where.dtype} on ${where.device}; ${where.cpu}, ${where.cores} cores.`,
    "The peer is transformers' Trainer with PEFT's LoRA; it stands first with the attention that transformers picks.",
    ...(curves === undefined
      ? []
      : [
          `LoRA in float32, ${curve} steps, ours and the Trainer's: losses differ by ${curves.maxDifference} at most.`,
        ]),
  ]);
};

const loss = async (
  { signal }: CommandContext,
  options: {
    readonly model: string;
    readonly device: string;
    readonly curve: number;
    readonly tokens: readonly number[];
    readonly batch: number;
  },
) => {
  const { model, device, curve, batch } = options;
  await using milora = await openSession({ model, device, dtype: "float32" });
  return milora.lossCurves({ tokens: Math.min(...options.tokens), batch, steps: curve, signal });
};
