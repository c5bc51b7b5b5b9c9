/**
 * What adding base and adapter output in float32 changes in bfloat16 (trap: an update below half a unit in the last place
 * of a module's output is lost when it is added): dev loss and seconds a step after some steps, beside all-float32.
 *
 * `tsx scripts/accumulation.ts <data dir> [steps=6,50,200] [batch=8]` prints a Markdown table.
 */
import { openMilora, type TrainInput } from "../ts/index.js";

const [dir = "../shared/data", stepList = "6,50,200", batch = "8"] = process.argv.slice(2);
const steps = stepList.split(",").map(Number);

const variants = [
  { name: "float32", dtype: "float32", accumulate: "base" },
  { name: "bfloat16", dtype: "bfloat16", accumulate: "base" },
  { name: "bfloat16, added in float32", dtype: "bfloat16", accumulate: "float32" },
] as const;

const spec = (accumulate: "base" | "float32"): TrainInput => ({
  method: { kind: "milora", accumulate },
  data: { task: "arc-easy", template: "choice-text", dir, dev: { split: 0.05 } },
  train: { batchSize: Number(batch), learningRate: 1e-4, maxSteps: Math.max(...steps), activationLearningRate: 0 },
});

const measure = async ({ dtype, accumulate }: (typeof variants)[number]): Promise<readonly string[]> => {
  const milora = await openMilora({ model: "smollm2-135m", dtype });
  const trainer = await milora.trainer(spec(accumulate));
  const cells: string[] = [];
  let seconds = 0;
  for (const rows of trainer.batches()) {
    const start = performance.now();
    await trainer.weightsStep(rows);
    await trainer.figures();
    seconds += (performance.now() - start) / 1000;
    if (steps.includes(trainer.step)) cells.push(Math.log(await trainer.devPerplexity()).toFixed(4));
  }
  await trainer.close();
  await milora.close();
  return [...cells, (seconds / Math.max(...steps)).toFixed(3)];
};

process.stdout.write(`| base | ${steps.map((step) => `dev loss after ${step}`).join(" | ")} | seconds a step |\n`);
process.stdout.write(`| --- |${" ---: |".repeat(steps.length + 1)}\n`);
for (const variant of variants)
  process.stdout.write(`| ${variant.name} | ${(await measure(variant)).join(" | ")} |\n`);
