import { z } from "zod";
import { loadRunSpec } from "../../client/load-spec.js";
import { MiloraError } from "../../errors.js";
import { parseWith } from "../../spec/parse.js";
import { trainProgress } from "../../client/train-progress.js";
import { openSession } from "../open-session.js";
import { printResult, type CommandContext } from "../output.js";

const optionsSchema = z.object({
  out: z.string().optional(),
  resume: z.boolean().default(false),
  set: z.array(z.string()).default([]),
});

/** `milora train <spec>`: one run; Ctrl-C stops it after the step, saved. */
export const train = async (context: CommandContext, raw: object, file: string): Promise<number> => {
  const options = parseWith(optionsSchema, raw, { what: "The options" });
  if (options.resume && options.out === undefined)
    throw new MiloraError("input/invalid-spec", "--resume needs --out: the folder of the run to go on with.");
  const { model, method, data, train: settings } = await loadRunSpec(file, options.set);
  const { device, dtype, attention } = settings;
  await using milora = await openSession({ model, device, dtype, attention });
  const run = milora.train(
    { method, data, train: settings },
    {
      out: options.out,
      resume: options.resume,
      signal: context.signal,
      progress: false,
      onEvent: trainProgress(process.stderr),
    },
  );
  const { folder, adapter, steps, stoppedBy, best, tokensPerSecond } = await run.result;
  printResult(context, { run: folder, adapter, steps, stoppedBy, best, tokensPerSecond }, () => [
    `stopped by ${stoppedBy} after ${steps} steps, ${tokensPerSecond.toFixed(0)} tokens/s`,
    best === null
      ? "no dev perplexity yet"
      : `best dev perplexity ${best.devPerplexity.toFixed(4)} at step ${best.step}`,
    `adapter ${adapter}`,
  ]);
  return stoppedBy === "interrupted" ? 130 : 0;
};
