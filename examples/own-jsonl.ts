/**
 * Fine-tunes on rows of your own, a JSON object a line: `{"prompt", "answer"}`, or `{"messages": […]}` for chats.
 *
 *     npx tsx examples/own-jsonl.ts [model] [rows.jsonl]
 */
import { fileURLToPath } from "node:url";
import { MiloraError, openMilora, type TrainInput } from "milora";

const ownRows = fileURLToPath(new URL("data/tickets.jsonl", import.meta.url));
const [model = "smollm2-135m", rows = ownRows] = process.argv.slice(2);
const milora = await openMilora({ model });

const spec: TrainInput = {
  method: { kind: "milora", rank: 8 },
  // A fifth of the rows is held out; `dev: "dev.jsonl"` would name a file. `format: "chat"` uses the chat template.
  data: { train: rows, dev: { split: 0.2 }, format: "plain" },
  train: { epochs: 2, batchSize: 4, learningRate: 1e-3, evalEvery: 4 },
};

try {
  const { adapter, best, steps } = await milora.train(spec).result;
  console.log(`${steps} steps; best dev perplexity ${best?.devPerplexity.toFixed(3)} at step ${best?.step}`);

  await milora.load("tickets", adapter);
  const [answer] = await milora.generate([{ tenant: "tickets", prompt: "Ticket: The app crashes.\nKind:" }], {
    maxNewTokens: 4,
  });
  console.log(`answer: ${answer?.text}`);
} catch (error) {
  // A malformed row is told by its file and line, before anything is trained.
  if (!MiloraError.isInstance(error) || error.code !== "data/bad-row") throw error;
  console.error(`${error.file}, line ${error.line}: ${error.message}`);
  process.exitCode = 2;
}
await milora.close();
