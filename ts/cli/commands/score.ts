import { z } from "zod";
import { scoreFile } from "../../client/offline.js";
import { parseWith } from "../../spec/parse.js";
import { percent, printResult, type CommandContext } from "../output.js";

const optionsSchema = z.object({ task: z.string(), outputs: z.string(), reader: z.enum(["robust", "compat"]) });

/** `milora score`: the score of saved outputs. */
export const score = async (context: CommandContext, raw: object): Promise<void> => {
  const { task, outputs, reader } = parseWith(optionsSchema, raw, { what: "The command" });
  const result = await scoreFile({ task, file: outputs, reader });
  printResult(context, result, () => [
    `accuracy ${percent(result.accuracy)} (${result.correct}/${result.total}), 95 % ` +
      `${result.interval.map(percent).join(" to ")}, ${result.unparsed} without an answer, ` +
      `chance ${percent(result.chance)}, majority ${percent(result.majority)}`,
    `${result.task} v${result.version}; saved outputs; ${result.reader} reader`,
  ]);
};
