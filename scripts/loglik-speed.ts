/**
 * Rows a second of milora's log-likelihood against lm-evaluation-harness' own model `hf`: the same ARC-e rows, base
 * model, dtype and batch, in one process, in turns, each side with the model as its users open it.
 *
 * `tsx scripts/loglik-speed.ts [--data ../shared/data] [--rows 600] [--dtype float32] [--batch 64] [--chunk 200]`
 */
import { execa } from "execa";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { z } from "zod";
import { ensureEnvironment, packageRoot, pythonRoot } from "../ts/bridge/environment/index.js";
import { openBackend } from "../ts/bridge/index.js";
import { writeFileAtomic } from "../ts/util/files.js";
import { median } from "../ts/util/statistics.js";
import { taskByName } from "../ts/tasks/registry.js";

const { values } = parseArgs({
  options: {
    data: { type: "string", default: "../shared/data" },
    model: { type: "string", default: "smollm2-135m" },
    rows: { type: "string", default: "600" },
    dtype: { type: "string", default: "float32" },
    batch: { type: "string", default: "64" },
    chunk: { type: "string", default: "200" },
    out: { type: "string", default: "runs/loglik-speed" },
  },
});

const round = z.object({ rows: z.number(), ours: z.number(), theirs: z.number(), difference: z.number() });

const main = async (): Promise<void> => {
  const { python } = await ensureEnvironment({ extras: ["demo", "dev"] });
  const backend = await openBackend({ python });
  const { location } = await backend.call("describeModel", { model: values.model });
  await backend.close();
  const task = taskByName("arc-easy");
  const examples = await task.load({ dir: resolve(values.data), split: "test" });
  const rows = examples.slice(0, Number(values.rows)).map((example) => {
    const { prompt, choices } = task.render(example, "choice-text");
    return JSON.stringify({ prompt, choices });
  });
  const file = resolve(values.out, "rows.jsonl");
  await writeFileAtomic(file, `${rows.join("\n")}\n`);
  const script = join(packageRoot, "test", "fixtures", "python", "loglik_speed.py");
  const { stdout } = await execa(python, [script, location, file, values.dtype, values.batch, values.chunk], {
    env: { PYTHONPATH: pythonRoot, HF_HUB_OFFLINE: "1", TRANSFORMERS_VERBOSITY: "error" },
    stderr: "ignore",
  });
  const rounds = stdout.split("\n").map((line) => round.parse(JSON.parse(line)));
  for (const { rows: count, ours, theirs, difference } of rounds)
    process.stdout.write(
      `${count} rows: milora ${(count / ours).toFixed(1)} rows/s, hf ${(count / theirs).toFixed(1)} rows/s, ` +
        `ratio ${(theirs / ours).toFixed(2)}, largest difference ${difference.toExponential(1)}\n`,
    );
  process.stdout.write(`median ratio ${median(rounds.map(({ ours, theirs }) => theirs / ours)).toFixed(2)}\n`);
};

await main();
