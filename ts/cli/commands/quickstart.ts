import { join } from "node:path";
import { z } from "zod";
import { describeSetupProgress } from "../../client/environment.js";
import { runQuickstart } from "../../client/quickstart.js";
import { trainProgress } from "../../client/train-progress.js";
import { parseWith } from "../../spec/parse.js";
import { formatDuration } from "../../util/duration.js";
import { createProgress, type Progress } from "../../util/progress.js";
import { percent, printResult, tell, type CommandContext } from "../output.js";

const optionsSchema = z.object({ out: z.string().optional(), seed: z.int().min(0) });

/** A progress line of an evaluation, made anew for each stage. */
const stageProgress = () => {
  let line: Progress | undefined;
  return (stage: string, done: number, total: number): void => {
    line ??= createProgress({ stream: process.stderr, label: stage, total, unit: "rows" });
    line.update(done);
    if (done < total) return;
    line.close();
    line = undefined;
  };
};

/** `milora quickstart`: the embedded demo, before and after. */
export const quickstart = async (context: CommandContext, raw: object): Promise<number> => {
  const options = parseWith(optionsSchema, raw, { what: "The command" });
  const time = new Date().toISOString().replaceAll(/[:.]/g, "-").slice(0, 19);
  const result = await runQuickstart({
    out: options.out ?? join("runs", `quickstart-${time}`),
    seed: options.seed,
    signal: context.signal,
    onStage: (stage) => tell(`\n${stage}`),
    onEvent: trainProgress(process.stderr),
    onProgress: stageProgress(),
    hooks: { onProgress: (progress) => tell(describeSetupProgress(progress)) },
  });
  const { before, after, run, examples, report, seconds, placement } = result;
  const figures = {
    before: before.accuracy,
    after: after.accuracy,
    run: run.folder,
    report,
    seconds,
    placement,
    examples,
  };
  printResult(context, figures, () => [
    "",
    `exact match before: ${percent(before.accuracy)} (${before.correct}/${before.total})`,
    `exact match after:  ${percent(after.accuracy)} (${after.correct}/${after.total})`,
    "",
    ...examples.flatMap(({ prompt, text }) => [prompt, `  ${text}`]),
    "",
    `${formatDuration(seconds)}; adapter ${run.adapter}; report ${report}`,
  ]);
  return run.stoppedBy === "interrupted" ? 130 : 0;
};
