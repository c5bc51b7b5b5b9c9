import { join } from "node:path";
import { z } from "zod";
import { smallSize, type SmallSize } from "../reproduce/groups.js";
import { reproductionMarkdown, type Reproduction } from "../reproduce/text.js";
import { writeFileAtomic } from "../util/files.js";
import { printResult, tell, type CommandContext } from "./output.js";
import { rayOption } from "./sweep-starter.js";

const sizes = ["rows", "testRows", "seeds"] as const satisfies readonly (keyof SmallSize)[];

/** The options of `milora reproduce`. */
export const reproduceOptionsSchema = z
  .object({
    model: z.string().min(1),
    data: z.string().min(1).optional(),
    scale: z.enum(["paper", "small"]),
    rows: z.int().min(16).optional(),
    testRows: z.int().min(1).optional(),
    seeds: z.int().min(1).optional(),
    out: z.string().optional(),
    jobs: z.int().min(1).optional(),
    ray: rayOption,
    dryRun: z.boolean().default(false),
    trial: z.boolean().default(false),
  })
  .superRefine((options, context) => {
    if (options.scale === "small") return;
    for (const size of sizes) {
      if (options[size] !== undefined)
        context.addIssue({ code: "custom", path: [size], message: "is of the small scale alone: add --scale small" });
    }
  });

export type ReproduceOptions = z.output<typeof reproduceOptionsSchema>;

/** How large the small scale is, with what the options say of it. */
export const sizeOf = ({ rows, testRows, seeds }: ReproduceOptions): SmallSize => ({
  rows: rows ?? smallSize.rows,
  testRows: testRows ?? smallSize.testRows,
  seeds: seeds ?? smallSize.seeds,
});

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
