import { arch, cpus, platform } from "node:os";
import { z } from "zod";
import { parseWith } from "../../spec/parse.js";
import { createProgress, type Progress } from "../../util/progress.js";
import { commaList } from "../comma-list.js";
import { openSession } from "../open-session.js";
import { printResult, table, type CommandContext } from "../output.js";

const optionsSchema = z.object({
  model: z.string(),
  methods: commaList,
  tokens: commaList.transform((parts) => parts.map(Number)).pipe(z.array(z.int().min(2))),
  rounds: z.int().min(1),
  batch: z.int().min(1),
  curve: z.int().min(1).optional(),
  device: z.string(),
  dtype: z.enum(["auto", "float32", "bfloat16", "float16"]),
});

/** A line a stage. */
const stageProgress = () => {
  let current: { readonly stage: string; readonly line: Progress } | undefined;
  return (stage: string, done: number, total: number): void => {
    if (current?.stage !== stage) {
      current?.line.close();
      current = { stage, line: createProgress({ stream: process.stderr, label: stage, total, unit: "steps" }) };
    }
    current.line.update(done);
    if (done >= total) current.line.close();
  };
};

/** The machine that a figure belongs to. */
const machine = () => ({
  cpu: cpus()[0]?.model.trim() ?? "unknown",
  cores: cpus().length,
  system: `${platform()} ${arch()}`,
});

const times = (ratio: number | null): string => (ratio === null ? "-" : ratio.toFixed(2));

/** `milora bench train`: the speed and memory of training, ours and that of transformers' Trainer with PEFT's LoRA. */
export const benchTrain = async (context: CommandContext, raw: object): Promise<void> => {
  const { model, device, dtype, curve, ...options } = parseWith(optionsSchema, raw, { what: "The options" });
  await using milora = await openSession({ model, device, dtype });
  const rows = await milora.benchTrain({ ...options, signal: context.signal, onProgress: stageProgress() });
  const where = { ...machine(), ...(await milora.placement()) };
  await milora.close();
  const curves = curve === undefined ? undefined : await loss(context, { model, device, curve, ...options });
  printResult(context, { rows, ...(curves === undefined ? {} : { curve: curves }), machine: where }, () => [
    ...table([
      ["method", "engine", "attention", "tokens", "tokens/s", "to peer", "to eager peer", "step to LoRA", "peak MiB"],
      ...rows.map((row) => [
        row.method,
        row.engine,
        row.attention,
        String(row.tokensPerRow),
        row.tokensPerSecond.toFixed(0),
        times(row.ratioToPeer),
        times(row.ratioToEagerPeer),
        times(row.stepToLora),
        (row.peakBytes / 2 ** 20).toFixed(0),
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
