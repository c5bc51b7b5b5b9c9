import { join } from "node:path";
import { z } from "zod";
import { reproductionMarkdown, type Reproduction } from "../reproduce/text.js";
import { writeFileAtomic } from "../util/files.js";
import { printResult, tell, type CommandContext } from "./output.js";

/** The options of `milora reproduce`. */
export const reproduceOptionsSchema = z.object({
  model: z.string().min(1),
  data: z.string().min(1),
  scale: z.enum(["paper", "small"]),
  out: z.string().optional(),
  jobs: z.int().min(1),
  dryRun: z.boolean().default(false),
  trial: z.boolean().default(false),
});

export type ReproduceOptions = z.output<typeof reproduceOptionsSchema>;

/** Writes `reproduce.md` and `reproduce.json`, and prints one of them. */
export const tellReproduction = async (
  context: CommandContext,
  out: string,
  reproduction: Reproduction,
): Promise<void> => {
  const markdown = reproductionMarkdown(reproduction);
  await writeFileAtomic(join(out, "reproduce.md"), markdown);
  await writeFileAtomic(join(out, "reproduce.json"), `${JSON.stringify(reproduction, undefined, 2)}\n`);
  tell(`table ${join(out, "reproduce.md")}`);
  printResult(context, { out, ...reproduction }, () => markdown.trimEnd().split("\n"));
};
