/**
 * Holds the capacity model (scripts/capacity.ts) against steps on this machine's CPUs: MiLoRA's steps over made-up rows
 * on some numbers of ranks, one thread each, in turns. The time of a token is taken from one rank; what the others
 * should take follows from the rows that the slowest rank is dealt, and from the cores that ranks share.
 *
 * `tsx scripts/rank-capacity.ts [--model smollm2-135m] [--ranks 1,2,4] [--strategy replicate] [--batch 16] [--steps 3]`
 * prints one JSON document. Needs ray in the Python that MILORA_PYTHON names.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { z } from "zod";
import { ensureEnvironment } from "../ts/bridge/environment/index.js";
import { scaleSchema } from "../ts/spec/scale.js";
import { median } from "../ts/util/statistics.js";
import { drawSteps, type RankShare } from "./lib/rank-shares.js";
import { beginTraining, timeStep } from "./lib/rank-training.js";

const { values } = parseArgs({
  options: {
    model: { type: "string", default: "smollm2-135m" },
    ranks: { type: "string", default: "1,2,4" },
    strategy: { type: "string", default: "replicate" },
    batch: { type: "string", default: "16" },
    micro: { type: "string", default: "4" },
    steps: { type: "string", default: "3" },
  },
});
const number = z.coerce.number().int().min(1);
const counts = z.array(number).parse(values.ranks.split(","));
const { batch, micro, steps } = z.object({ batch: number, micro: number, steps: number }).parse(values);

/** A row of about so many tokens. */
const row = ([prompt, answer]: readonly [number, number]): string =>
  JSON.stringify({ prompt: " a".repeat(prompt), answer: " b".repeat(answer) });

/** Products of a step on its slowest rank, in tokens: forward, backward to the inputs, and the pass for f. */
const work = ({ slowest, slowestPrompt }: RankShare): number => 2 * slowest + slowestPrompt;

const folder = mkdtempSync(join(tmpdir(), "milora-capacity-"));
const rowsFile = join(folder, "rows.jsonl");

/** Seconds of each step on so many ranks; the first is made twice, for the first time to warm up. */
const timeRanks = async (python: string, ranks: number) => {
  // Ray counts a rank as less than a core: it may have fewer of them. The ranks' own thread stays one.
  const cpusPerRank = Math.min(1, availableParallelism() / ranks);
  const scale = scaleSchema.parse({ ranks, cpusPerRank, strategy: values.strategy });
  const { backend, trainable } = await beginTraining({
    python,
    model: values.model,
    rowsFile,
    scale: ranks === 1 ? null : scale,
    microBatch: micro,
  });
  const indices = Array.from({ length: steps }, (_, step) =>
    Array.from({ length: batch }, (_, i) => step * batch + i),
  );
  const seconds: number[] = [];
  for (const rows of [...indices.slice(0, 1), ...indices]) seconds.push((await timeStep(backend, rows)) / 1000);
  await backend.call("closeModel", {});
  await backend.close();
  return { seconds: seconds.slice(1), trainable };
};

try {
  process.env["OMP_NUM_THREADS"] = "1";
  const { python } = await ensureEnvironment();
  const { rows, shares } = await drawSteps({ counts, steps, rows: batch, micro, seed: 1 });
  writeFileSync(rowsFile, rows.flat().map(row).join("\n"));
  const found: { ranks: number; seconds: number; work: number; gradientBytes: number }[] = [];
  for (const share of shares) {
    const { seconds, trainable } = await timeRanks(python, share.count);
    found.push({ ranks: share.count, seconds: median(seconds), work: work(share), gradientBytes: 4 * trainable });
    process.stderr.write(`${JSON.stringify(found.at(-1))}\n`);
  }
  const [one] = found;
  if (one === undefined) throw new Error("no ranks");
  const cores = availableParallelism();
  const result = found.map(({ ranks, seconds, work: own, gradientBytes }) => {
    const expected = one.seconds * (own / one.work) * Math.max(1, ranks / cores);
    return { ranks, seconds, expected, measuredToExpected: seconds / expected, gradientBytes };
  });
  process.stdout.write(
    `${JSON.stringify({ model: values.model, strategy: values.strategy, batch, cores, result })}\n`,
  );
} finally {
  rmSync(folder, { recursive: true, force: true });
}
