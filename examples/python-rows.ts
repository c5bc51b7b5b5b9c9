/**
 * Trains on rows that a Python pipeline makes: raw access to Python beside the typed API.
 *
 *     npx tsx examples/python-rows.ts [model] [steps]
 */
import { fileURLToPath } from "node:url";
import { openMilora, PythonError } from "milora";

const [model = "smollm2-135m", steps = "10"] = process.argv.slice(2);
const milora = await openMilora({ model }, { onLog: ({ text }) => console.log(`python: ${text}`) });

// Modules are imported by name. Folders come from PYTHONPATH, or are added like this.
const path = await (await milora.python("sys")).path;
await path.append(fileURLToPath(new URL("python", import.meta.url)));
const pipeline = await milora.python("shop_pipeline");

// Await each step. The rows stay in Python until training writes them to a file, once.
const rows = await pipeline.training_rows(40);
const { adapter } = await milora.train({
  method: { kind: "milora", rank: 8 },
  data: { python: rows, dev: { split: 0.1 } },
  train: { maxSteps: Number(steps), batchSize: 8, learningRate: 1e-3 },
}).result;
console.log(`trained: ${adapter}`);

// A keyword argument: the method's name with a $, keywords in a last object. Strings and numbers come back as such.
const prompt = await pipeline.prompt_of$("green tea", { urgent: true });
await milora.load("shop", adapter);
const [text] = await milora.generate([{ tenant: "shop", prompt }], { maxNewTokens: 8 });
console.log(JSON.stringify({ prompt, text: text?.text }));

// Python's exceptions arrive with type, message and traceback.
try {
  await pipeline.prompt_of("");
} catch (error) {
  if (!(error instanceof PythonError)) throw error;
  console.log(`${error.pythonType}: ${error.message}`);
}
await milora.close();
