/** Made-up steps, and how alike their shares are on some numbers of ranks: scripts/lib/rank_shares.py. */
import { execa } from "execa";
import { join } from "node:path";
import { z } from "zod";
import { packageRoot, pythonRoot } from "../../ts/bridge/environment/index.js";

const share = z.object({
  count: z.number(),
  slowest: z.number(),
  mean: z.number(),
  slowestPrompt: z.number(),
  meanPrompt: z.number(),
});

/** Padded tokens of a step on the slowest rank and on the mean one, and those of their prompts alone. */
export type RankShare = z.output<typeof share>;

const drawn = z.object({
  rows: z.array(z.array(z.tuple([z.number(), z.number()]))),
  shares: z.array(share),
});

/** What is drawn: `rows` a step, at most `micro` of them at once on a rank. */
export interface DrawnSteps {
  readonly counts: readonly number[];
  readonly steps: number;
  readonly rows: number;
  readonly micro: number;
  readonly seed: number;
}

/** The prompt's and the answer's tokens of each row of each step, and the shares, dealt by the program itself. */
export const drawSteps = async (asked: DrawnSteps): Promise<z.output<typeof drawn>> => {
  const { stdout } = await execa(
    process.env["MILORA_PYTHON"] ?? "python3",
    [join(packageRoot, "scripts", "lib", "rank_shares.py")],
    { input: JSON.stringify(asked), env: { PYTHONPATH: pythonRoot } },
  );
  return drawn.parse(JSON.parse(stdout));
};
