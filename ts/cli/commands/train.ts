import { z } from "zod";
import { loadRunSpec } from "../../client/load-spec.js";
import type { Milora } from "../../client/milora.js";
import { trainProgress } from "../../client/train-progress.js";
import { MiloraError } from "../../errors.js";
import { parseWith } from "../../spec/parse.js";
import { formatDuration } from "../../util/duration.js";
import { openSession } from "../open-session.js";
import { printResult, type CommandContext } from "../output.js";

const optionsSchema = z.object({
  out: z.string().optional(),
  resume: z.boolean().default(false),
  allow: z.array(z.string()).default([]),
  dryRun: z.boolean().default(false),
  set: z.array(z.string()).default([]),
});

type Estimate = Awaited<ReturnType<Milora["estimate"]>>;

const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(2)} GB`;

const estimateLines = (estimate: Estimate): readonly string[] => {
  const { parameters, rows, memory, time } = estimate;
  const { base, trainables, activations, logits, total, trial } = memory;
  return [
    `${estimate.method} on ${estimate.model} (${estimate.device}, ${estimate.dtype})`,
    `${parameters.trainable.toLocaleString("en")} of ${parameters.base.toLocaleString("en")} parameters train`,
    `${rows.train} training rows, ${rows.dev} dev rows, ${rows.dropped} dropped, ${rows.truncated} truncated`,
    `${estimate.steps} steps of ${estimate.batchSize} rows, ${estimate.microBatch} at once`,
    `memory about ${gigabytes(total)}: model ${gigabytes(base)}, trained ${gigabytes(trainables)}, ` +
      `layers ${gigabytes(activations)}, logits ${gigabytes(logits)}; the longest rows took ${gigabytes(trial)} in a trial`,
    `a checkpoint takes ${gigabytes(estimate.checkpoint)} of disk`,
    `${time.step.toFixed(2)} s a step, ${time.evaluation.toFixed(2)} s an evaluation, ${formatDuration(time.total)} in all, without saves`,
  ];
};

/** `milora train <spec>`: one run, or with `--dry-run` what it would take; Ctrl-C stops it after the step, saved. */
export const train = async (context: CommandContext, raw: object, file: string): Promise<number> => {
  const options = parseWith(optionsSchema, raw, { what: "The command" });
  const { out, resume, allow } = options;
  if (resume && out === undefined)
    throw new MiloraError("input/invalid-spec", "--resume needs --out: the folder of the run to go on with.");
  const { model, method, data, train: settings, scale } = await loadRunSpec(file, options.set);
  const { device, dtype, attention, quantization } = settings;
  await using milora = await openSession({ model, device, dtype, attention, quantization, scale });
  const spec = { method, data, train: settings };
  if (options.dryRun) {
    const estimate = await milora.estimate(spec);
    printResult(context, estimate, () => estimateLines(estimate));
    return 0;
  }
  const onEvent = trainProgress(process.stderr);
  const run = milora.train(spec, { out, resume, allow, signal: context.signal, progress: false, onEvent });
  const { folder, adapter, steps, stoppedBy, best, tokensPerSecond, skipped } = await run.result;
  printResult(context, { run: folder, adapter, steps, stoppedBy, best, tokensPerSecond, skipped }, () => [
    `stopped by ${stoppedBy} after ${steps} steps, ${tokensPerSecond.toFixed(0)} tokens/s`,
    best === null
      ? "no dev perplexity yet"
      : `best dev perplexity ${best.devPerplexity.toFixed(4)} at step ${best.step}`,
    ...(skipped > 0 ? [`${skipped} update(s) skipped: loss or gradient was not finite`] : []),
    `adapter ${adapter}`,
  ]);
  return stoppedBy === "interrupted" ? 130 : 0;
};
