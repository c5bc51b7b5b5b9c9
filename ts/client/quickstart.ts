import { join } from "node:path";
import type { EvaluationResult } from "../evaluate/result.js";
import type { GeneratedText } from "../generate/generate-texts.js";
import { writeQuickstartReport } from "../report/quickstart-report.js";
import type { TrainEvent } from "../runs/events.js";
import { writeFileAtomic } from "../util/files.js";
import { openMilora, type Milora } from "./milora.js";
import type { TrainInput } from "./options.js";
import type { Placement, SessionHooks } from "./session.js";
import type { TrainResult } from "../train/run-handle.js";

/** What the quickstart shows. */
export interface QuickstartResult {
  readonly before: EvaluationResult;
  readonly after: EvaluationResult;
  readonly run: TrainResult;
  /** Three requests of the test set with what the tuned model answers. */
  readonly examples: readonly { readonly prompt: string; readonly expected: string; readonly text: string }[];
  readonly report: string;
  readonly seconds: number;
  /** Where it ran: a CPU in float32 is shown fewer rows. */
  readonly placement: Placement;
}

export interface QuickstartOptions {
  readonly out: string;
  readonly seed: number;
  readonly signal?: AbortSignal | undefined;
  readonly onStage?: ((stage: string) => void) | undefined;
  readonly onEvent?: ((event: TrainEvent) => void) | undefined;
  readonly onProgress?: ((stage: string, done: number, total: number) => void) | undefined;
  readonly hooks?: SessionHooks | undefined;
}

const model = "smollm2-135m";
const testRows = 100;
/** The longest right answer has 43 tokens. */
const maxNewTokens = 48;

/** A CPU without products for bfloat16 is several times slower: it sees a third of the rows, and learns a little less. */
const sizeOf = ({ device, dtype }: Placement) =>
  device === "cpu" && dtype === "float32" ? { maxSteps: 170, batchSize: 4 } : { maxSteps: 130, batchSize: 16 };

/** Sized for two CPU cores and a few minutes; the paper's settings but for learning rate, steps and how often Θ moves. */
const spec = (seed: number, placement: Placement): TrainInput => ({
  method: { kind: "milora", rank: 32, topK: 3 },
  data: { task: "smart-home", dev: { split: 0.01 } },
  train: {
    ...sizeOf(placement),
    learningRate: 2e-3,
    activationEvery: 10,
    evalEvery: 60,
    checkpointEvery: 60,
    maxLength: 256,
    seed,
  },
});

const score = async (milora: Milora, options: QuickstartOptions, adapter?: string): Promise<EvaluationResult> => {
  const { results } = await milora.evaluate({
    adapter,
    tasks: ["smart-home"],
    limit: testRows,
    maxNewTokens,
    batchSize: testRows,
    signal: options.signal,
    onProgress: (_task, done, total) => options.onProgress?.("test", done, total),
  });
  const [result] = results;
  if (result === undefined) throw new RangeError("one task gives one result");
  return result;
};

const examplesOf = (after: EvaluationResult, texts: readonly GeneratedText[]): QuickstartResult["examples"] =>
  texts.map(({ prompt, text }, index) => ({ prompt, text: text.trim(), expected: after.rows[index]?.expected ?? "" }));

/**
 * The embedded demo: a small real model learns a built-in task (a sentence in English to calls of a smart-home API);
 * exact match before and after on sentences that training never showed.
 */
export const runQuickstart = async (options: QuickstartOptions): Promise<QuickstartResult> => {
  const startedAt = performance.now();
  await using milora = await openMilora({ model, seed: options.seed }, options.hooks);
  options.onStage?.(`Before: ${testRows} test requests`);
  const before = await score(milora, options);
  options.onStage?.("Fine-tuning with MiLoRA");
  const { out, signal, onEvent } = options;
  const placement = await milora.placement();
  const run = await milora.train(spec(options.seed, placement), { out, signal, progress: false, onEvent }).result;
  options.onStage?.(`After: the same ${testRows} test requests`);
  await milora.load("quickstart", run.adapter);
  const after = await score(milora, options, "quickstart");
  const requests = after.rows.slice(0, 3).map(({ prompt }) => ({ prompt, tenant: "quickstart" }));
  const texts = await milora.generate(requests, { maxNewTokens, explain: true, signal });
  const examples = examplesOf(after, texts);
  for (const [name, result] of Object.entries({ before, after }))
    await writeFileAtomic(join(run.folder, "results", `smart-home-${name}.json`), `${JSON.stringify(result)}\n`);
  const seconds = (performance.now() - startedAt) / 1000;
  const report = await writeQuickstartReport({ run: run.folder, before, after, examples, seconds });
  return { before, after, run, examples, report, seconds, placement };
};
