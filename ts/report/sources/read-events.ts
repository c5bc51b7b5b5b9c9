import { z } from "zod";
import { readTextFile } from "../../util/files.js";
import type { Curves } from "./inputs.js";

const step = z.object({
  type: z.literal("step"),
  step: z.number(),
  kind: z.string(),
  loss: z.number().nullable(),
});

const evaluation = z.object({
  type: z.literal("evaluation"),
  step: z.number(),
  perplexity: z.number(),
  best: z.boolean().default(false),
  argmaxShare: z.record(z.string(), z.number()).nullable().default(null),
});

/** Events that no curve needs are not looked into. */
const shown = ["step", "evaluation"];
const other = z.object({ type: z.string().refine((type) => !shown.includes(type)) });
const event = z.union([step, evaluation, other]);

export const noCurves: Curves = { losses: [], evaluations: [], expertShare: null };

const parsedLine = (line: string): z.output<typeof event> | undefined => {
  try {
    return event.safeParse(JSON.parse(line)).data;
  } catch {
    return undefined;
  }
};

/**
 * Reads the curves of a run's `events.jsonl`; `unread`: the numbers of the lines that are no events.
 * @throws MiloraError `input/missing-file`.
 */
export const readCurves = async (
  file: string,
): Promise<{ readonly curves: Curves; readonly unread: readonly number[] }> => {
  const lines = (await readTextFile(file, "the run's events")).split("\n");
  const losses: { step: number; loss: number }[] = [];
  const evaluations: { step: number; perplexity: number; best: boolean }[] = [];
  const unread: number[] = [];
  let expertShare: Curves["expertShare"] = null;
  for (const [index, line] of lines.entries()) {
    if (line.trim() === "") continue;
    const found = parsedLine(line);
    if (found === undefined) unread.push(index + 1);
    else if ("kind" in found) {
      if (found.kind === "weights" && found.loss !== null) losses.push({ step: found.step, loss: found.loss });
    } else if ("perplexity" in found) {
      evaluations.push({ step: found.step, perplexity: found.perplexity, best: found.best });
      expertShare = found.argmaxShare ?? expertShare;
    }
  }
  return { curves: { losses, evaluations, expertShare }, unread };
};
