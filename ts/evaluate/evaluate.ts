import type { Backend } from "../backend/backend.js";
import type { ReaderName } from "../tasks/readers/reader.js";
import {
  checkScorer,
  checkSplit,
  type Rendered,
  type Scorer,
  type SplitName,
  type Task,
  templateHash,
  templateOf,
} from "../tasks/task.js";
import { chooseBySum, chooseNormalized, type ChoiceScore } from "./choose.js";
import { runChunked } from "./chunked.js";
import { type EvaluationResult, protocolText, type ScoredRow, summarize } from "./result.js";

export interface EvaluateOptions {
  readonly backend: Backend;
  /** Name of a loaded adapter; null = the base model. */
  readonly adapter: string | null;
  readonly task: Task;
  /** One of the task's templates; its first one by default. */
  readonly template?: string | undefined;
  readonly scorer: Scorer;
  /** Folder that holds one folder a task. */
  readonly dir?: string | undefined;
  /** `test` by default. */
  readonly split?: SplitName | undefined;
  /** The first rows only. */
  readonly limit?: number | undefined;
  /** Rows and seed of a generated task. */
  readonly rows?: number | undefined;
  readonly seed?: number | undefined;
  /** 1 = greedy. */
  readonly beams?: number | undefined;
  readonly maxNewTokens?: number | undefined;
  /** Rows that go to the model at once; 32 by default. */
  readonly batchSize?: number | undefined;
  readonly reader?: ReaderName | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

interface Item {
  readonly example: unknown;
  readonly index: number;
  readonly rendered: Rendered;
  readonly expected: string;
}

const loadItems = async (options: EvaluateOptions, template: string, split: SplitName): Promise<readonly Item[]> => {
  const { task, dir, rows, seed } = options;
  checkSplit(task, split);
  const examples = await task.load({ dir, split, rows, seed });
  return examples.map((example, index) => ({
    example,
    index,
    rendered: task.render(example, template),
    expected: task.correct(example),
  }));
};

const chunking = ({ signal, onProgress, batchSize = 32 }: EvaluateOptions) => ({ signal, onProgress, batchSize });

const byGeneration = async (options: EvaluateOptions, items: readonly Item[]) => {
  const { backend, adapter, task, beams = 1, maxNewTokens = task.maxNewTokens, reader = "robust", signal } = options;
  let newTokens = 0;
  let seconds = 0;
  const rows: readonly ScoredRow[] = await runChunked({
    ...chunking(options),
    items,
    sizeOf: ({ rendered }) => rendered.prompt.length,
    run: async (chunk) => {
      const requests = chunk.map(({ rendered: { prompt, chat = false } }) => ({ adapter, prompt, chat }));
      const startedAt = performance.now();
      const { outputs } = await backend.call("generate", { requests, beams, maxNewTokens }, { signal });
      seconds += (performance.now() - startedAt) / 1000;
      newTokens += outputs.reduce((total, output) => total + output.newTokens, 0);
      return outputs.flatMap(({ text }, position) =>
        chunk.slice(position, position + 1).map(({ example, index, rendered, expected }) => {
          const { answer } = task.read(text, example, reader);
          return {
            index,
            prompt: rendered.prompt,
            output: text,
            read: answer,
            expected,
            correct: answer === expected,
          };
        }),
      );
    },
  });
  return { rows, newTokens, tokensPerSecond: seconds > 0 ? newTokens / seconds : 0 };
};

/** A row with the answers of both ways of choosing; `row` carries the normalised one. */
interface LikelihoodRow {
  readonly row: ScoredRow;
  readonly correctBySum: boolean;
}

const chosenRow = (item: Item, scores: readonly ChoiceScore[]): LikelihoodRow => {
  const { index, rendered, expected } = item;
  const { choices = [], choiceLabels = [], prompt } = rendered;
  const read = choiceLabels[chooseNormalized(scores, choices)] ?? null;
  const row = { index, prompt, scores, read, expected, correct: read === expected };
  return { row, correctBySum: choiceLabels[chooseBySum(scores)] === expected };
};

const byLikelihood = async (options: EvaluateOptions, items: readonly Item[]): Promise<readonly LikelihoodRow[]> => {
  const { backend, adapter, signal } = options;
  return await runChunked({
    ...chunking(options),
    items,
    sizeOf: ({ rendered: { prompt, choices = [] } }) =>
      prompt.length + Math.max(...choices.map(({ length }) => length)),
    run: async (chunk) => {
      const rows = chunk.map(({ rendered: { prompt, chat = false, choices = [] } }) => ({
        prompt,
        chat,
        choices: [...choices],
      }));
      const { scores } = await backend.call("scoreChoices", { rows, adapter }, { signal });
      return scores.flatMap((of, position) => chunk.slice(position, position + 1).map((item) => chosenRow(item, of)));
    },
  });
};

/** Mean over the rows of a guess's chance: questions differ in their number of choices. */
const chanceOf = (task: Task, items: readonly Item[]): number => {
  const sum = items.reduce((total, { rendered: { choices } }) => {
    return total + (choices === undefined ? task.chance : 1 / choices.length);
  }, 0);
  return items.length === 0 ? task.chance : sum / items.length;
};

const score = async (options: EvaluateOptions, items: readonly Item[]) => {
  if (options.scorer === "generate") {
    const generated = await byGeneration(options, items);
    return { ...summarize(generated.rows), ...generated };
  }
  const scored = await byLikelihood(options, items);
  const rows = scored.map(({ row }) => row);
  const summary = summarize(rows);
  const accuracySum = scored.filter(({ correctBySum }) => correctBySum).length / Math.max(1, scored.length);
  return { ...summary, accuracySum, accuracyNormalized: summary.accuracy, rows };
};

/**
 * Scores a model, with or without an adapter, on a task's split.
 * Errors: `input/unknown-name` (template, split, scorer); those of the task's data; `cancelled`; the backend's.
 */
export const evaluate = async (options: EvaluateOptions): Promise<EvaluationResult> => {
  const { task, scorer, split = "test", beams = 1, reader = "robust" } = options;
  const maxNewTokens = options.maxNewTokens ?? task.maxNewTokens;
  const template = templateOf(task, options.template);
  checkScorer(task, scorer);
  const all = await loadItems(options, template, split);
  const items = all.slice(0, options.limit ?? all.length);
  const chat = items.some(({ rendered }) => rendered.chat === true);
  const startedAt = performance.now();
  const figures = await score(options, items);
  return {
    task: task.name,
    version: task.version,
    split,
    scorer,
    template,
    templateHash: templateHash(task, template),
    protocol: protocolText({
      task,
      template,
      split,
      scorer,
      reader,
      beams,
      maxNewTokens,
      chat,
      total: items.length,
      available: all.length,
    }),
    chance: chanceOf(task, items),
    seconds: (performance.now() - startedAt) / 1000,
    ...figures,
  };
};
