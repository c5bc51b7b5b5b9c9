/**
 * Fine-tunes a checkpoint on a built-in task, watches the run, scores it before and after.
 *
 *     npx tsx examples/fine-tune.ts [model] [steps]
 */
import { openMilora } from "milora";

const [model = "smollm2-135m", steps = "130"] = process.argv.slice(2);
const milora = await openMilora({ model });

const method = { kind: "milora", rank: 32, topK: 3 } as const;
const { trainable, routers } = await milora.params(method);
console.log(`trains ${trainable} parameters, ${routers} of them routers`);

const test = { tasks: ["smart-home"], limit: 20, maxNewTokens: 32 };
const before = await milora.evaluate(test);

const run = milora.train({
  method,
  data: { task: "smart-home", limit: 600, dev: { split: 0.05 } },
  train: { maxSteps: Number(steps), batchSize: 16, learningRate: 2e-3, evalEvery: 40, maxLength: 256 },
});
for await (const event of run) {
  if (event.type !== "evaluation") continue;
  console.log(`step ${event.step}: dev perplexity ${event.perplexity.toFixed(3)}`);
  if (event.perplexity > 10_000) run.stop("diverged");
}
const { adapter, stoppedBy } = await run.result;

const after = await milora.evaluate({ ...test, adapter });
for (const [when, { results }] of Object.entries({ before, after })) {
  for (const { task, correct, total } of results) console.log(`${when}: ${task} ${correct} of ${total}`);
}
console.log(`stopped by ${stoppedBy}; the adapter is in ${adapter}`);
await milora.close();
