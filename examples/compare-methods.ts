/**
 * Trains three methods on the same rows and compares their answers row by row.
 *
 *     npx tsx examples/compare-methods.ts [model] [steps] [test rows]
 */
import { compareResults, display, openMilora, type EvaluationResult, type MethodInput } from "milora";

const [model = "smollm2-135m", steps = "60", rows = "50"] = process.argv.slice(2);
const milora = await openMilora({ model });

// `small`: the same budget of parameters for every method.
const methods: readonly MethodInput[] = [
  { kind: "lora", preset: "small" },
  { kind: "dora", preset: "small" },
  { kind: "milora", preset: "small", topK: 3 },
];
const folder = `runs/compare-${Date.now()}`;
const scored: EvaluationResult[] = [];
for (const method of methods) {
  const run = milora.train(
    {
      method,
      data: { task: "smart-home", limit: 400 },
      train: { maxSteps: Number(steps), batchSize: 16, learningRate: 2e-3, maxLength: 256 },
    },
    { out: `${folder}/${method.kind}` },
  );
  const { adapter } = await run.result;
  const { results } = await milora.evaluate({ adapter, tasks: ["smart-home"], limit: Number(rows), maxNewTokens: 32 });
  scored.push(...results);
}

const [reference, ...others] = scored;
if (reference === undefined) throw new Error("nothing was scored");
display(
  others.map((result, index) => {
    const { first, second, difference, interval, p, verdict } = compareResults(reference, result);
    return {
      method: methods[index + 1]?.kind ?? "",
      [`${methods[0]?.kind}, right`]: first.correct,
      right: second.correct,
      difference,
      "95 %": interval.map((end) => end.toFixed(2)).join(" to "),
      p,
      verdict,
    };
  }),
);
await milora.close();
