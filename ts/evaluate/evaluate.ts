import { askedInput } from "../backend/asked-input.js";
import type { Backend, CallOptions } from "../backend/backend.js";
import type { Hub, HubRecord } from "../data/hub.js";
import { MiloraError } from "../errors.js";
import type { HubChoice } from "../spec/data.js";
import { loadSplit } from "../tasks/load-split.js";
import type { ReaderName } from "../tasks/readers/reader.js";
import {
  type Asked,
  checkSplit,
  type Rendered,
  type Scorer,
  type SplitName,
  type Task,
  scoredTemplate,
  templateHash,
} from "../tasks/task.js";
import { chooseBySum, chooseNormalized, type ChoiceScore } from "./choose.js";
import { runChunked } from "./chunked.js";
import { generateTurns } from "./generate-turns.js";
import { firstOfEach, groupFigures, type RowGroups } from "./groups.js";
import { checkRow, placedError } from "./row-errors.js";
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
  /** For rows that no local file holds. */
  readonly hub?: Hub | undefined;
  /** Takes the rows from the hub in any case. */
  readonly choice?: HubChoice | undefined;
  /** `test` by default. */
  readonly split?: SplitName | undefined;
  /** The first rows only; a task's parts, such as subjects, share them. */
  readonly limit?: number | undefined;
  /** Rows and seed of a generated task. */
  readonly rows?: number | undefined;
  readonly seed?: number | undefined;
  /** 1 = greedy. */
  readonly beams?: number | undefined;
  readonly maxNewTokens?: number | undefined;
  /** Rows that go to the model at once; 32 of a generation, 128 prompts or choices of a likelihood by default. */
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
  readonly groups: RowGroups;
}

interface LoadedItems {
  readonly items: readonly Item[];
  readonly source: HubRecord | undefined;
}

const loadItems = async (options: EvaluateOptions, template: string, split: SplitName): Promise<LoadedItems> => {
  const { task, dir, rows, seed, hub, choice } = options;
  checkSplit(task, split);
  const { examples, source } = await loadSplit(task, { dir, split, rows, seed, hub, choice });
  const items = examples.map((example, index) => {
    const item = { example, index, rendered: task.render(example, template), expected: task.correct(example) };
    checkRow(item, { task, split });
    return { ...item, groups: task.groupsOf?.(example) ?? {} };
  });
  return { items, source };
};

type OnEvent = CallOptions["onEvent"];

const chunking = ({ signal, onProgress, batchSize = 32 }: EvaluateOptions) => ({ signal, onProgress, batchSize });

/** The field of a row whose prompt was cut. */
const truncation = (truncated: boolean): Pick<ScoredRow, "truncated"> => (truncated ? { truncated } : {});

const byGeneration = async (options: EvaluateOptions, items: readonly Item[], template: string) => {
  const { backend, adapter, task, beams = 1, maxNewTokens = task.maxNewTokens, reader = "robust", signal } = options;
  let newTokens = 0;
  let seconds = 0;
  const write = async (prompts: readonly Asked[], onEvent: OnEvent) => {
    const requests = prompts.map((asked) => ({ adapter, ...askedInput(asked) }));
    const startedAt = performance.now();
    const input = { requests, beams, maxNewTokens, cutPrompts: true };
    const { outputs } = await backend.call("generate", input, { signal, onEvent });
    seconds += (performance.now() - startedAt) / 1000;
    newTokens += outputs.reduce((total, output) => total + output.newTokens, 0);
    return outputs;
  };
  const rows: readonly ScoredRow[] = await runChunked({
    ...chunking(options),
    items,
    sizeOf: ({ rendered }) => rendered.prompt.length,
    run: async (chunk, onEvent) => {
      const written = await generateTurns({
        task,
        template,
        items: chunk,
        write: async (asked) => write(asked, onEvent),
      });
      return written.flatMap((turns, position) =>
        chunk.slice(position, position + 1).map(({ example, index, rendered: { prompt }, expected }) => {
          const output = turns[0]?.output ?? "";
          const { answer } = task.read(output, example, reader, template);
          const correct = answer !== null && answer === expected;
          const material = task.judgeMaterial?.(example);
          const more = {
            ...(turns.length > 1 ? { turns } : {}),
            ...(material === undefined ? {} : { material }),
            ...truncation(turns.some(({ truncated = false }) => truncated)),
          };
          return { index, prompt, output, ...more, read: answer, expected, correct };
        }),
      );
    },
  });
  return { rows, newTokens, tokensPerSecond: seconds > 0 ? newTokens / seconds : 0 };
};

/** A row with the answers of both ways of choosing; `row` carries the normalised one. */
interface LikelihoodRow {
  readonly row: ScoredRow;
  readonly sumAnswer: string | null;
}

const chosenRow = (item: Item, scores: readonly ChoiceScore[], truncated: boolean): LikelihoodRow => {
  const { index, rendered, expected } = item;
  const { choices = [], choiceLabels = [], prompt } = rendered;
  const read = choiceLabels[chooseNormalized(scores, choices)] ?? null;
  const row = { index, prompt, ...truncation(truncated), scores, read, expected, correct: read === expected };
  return { row, sumAnswer: choiceLabels[chooseBySum(scores)] ?? null };
};

const byLikelihood = async (options: EvaluateOptions, items: readonly Item[]): Promise<readonly LikelihoodRow[]> => {
  const { backend, adapter, signal, task, split = "test", batchSize = 32 } = options;
  return await runChunked({
    ...chunking(options),
    items,
    // Prompts of like length share a pass, so the more rows a call has, the less is padded.
    batchSize: batchSize * 8,
    sizeOf: ({ rendered: { prompt } }) => prompt.length,
    run: async (chunk, onEvent) => {
      const rows = chunk.map(({ rendered }) => ({
        ...askedInput(rendered),
        choices: [...(rendered.choices ?? [])],
      }));
      const { scores, truncated = [] } = await backend
        .call("scoreChoices", { rows, adapter, microBatch: options.batchSize }, { signal, onEvent })
        .catch((error: unknown) => {
          throw placedError(error, chunk, { task, split });
        });
      return scores.flatMap((of, position) =>
        chunk.slice(position, position + 1).map((item) => chosenRow(item, of, truncated.includes(position))),
      );
    },
  });
};

/** Mean over the rows of a guess's chance: questions differ in their number of choices. */
const chanceOf = (task: Task, items: readonly Item[]): number => {
  const sum = items.reduce((total, { example, rendered: { choices } }) => {
    return total + (task.chanceOf?.(example) ?? (choices === undefined ? task.chance : 1 / choices.length));
  }, 0);
  return items.length === 0 ? task.chance : sum / items.length;
};

const score = async (options: EvaluateOptions, items: readonly Item[], template: string) => {
  const { task, scorer } = options;
  if (scorer === "generate") {
    const generated = await byGeneration(options, items, template);
    if (task.metric === "judged")
      return { ...summarize([]), accuracy: null, unscored: generated.rows.length, ...generated };
    return { ...summarize(generated.rows), ...generated };
  }
  const scored = await byLikelihood(options, items);
  if (scorer === "label") {
    const rows = scored.map(({ row, sumAnswer }) => ({
      ...row,
      read: sumAnswer,
      correct: sumAnswer === row.expected,
    }));
    return { ...summarize(rows), rows };
  }
  const rows = scored.map(({ row }) => row);
  const summary = summarize(rows);
  const accuracySum =
    scored.filter(({ row, sumAnswer }) => sumAnswer === row.expected).length / Math.max(1, scored.length);
  return { ...summary, accuracySum, accuracyNormalized: summary.accuracy, rows };
};

/** The parts that rows come from, counted, such as `57 subjects`. */
const partsText = (items: readonly Item[]): string | undefined => {
  const [name] = Object.keys(items.at(0)?.groups ?? {});
  return name === undefined ? undefined : `${new Set(items.map(({ groups }) => groups[name])).size} ${name}`;
};

const limited = (items: readonly Item[], limit: number | undefined): readonly Item[] =>
  limit === undefined ? items : firstOfEach(items, limit, ({ groups }) => Object.values(groups)[0] ?? "");

/** Only what the model writes is read: a reader that would change nothing is refused. */
const checkReader = ({ scorer, reader = "robust" }: EvaluateOptions): void => {
  if (scorer === "generate" || reader === "robust") return;
  throw new MiloraError(
    "input/invalid-spec",
    `The scorer ${scorer} reads no answers, so it has no ${reader} reader.`,
    {
      path: "reader",
      found: reader,
      allowed: "robust, or the scorer generate",
    },
  );
};

/**
 * Scores a model, with or without an adapter, on a task's split.
 * Errors: `input/unknown-name` (template, split, scorer); those of the task's data; `cancelled`; the backend's.
 */
export const evaluate = async (options: EvaluateOptions): Promise<EvaluationResult> => {
  const { task, scorer, split = "test", beams = 1, reader = "robust" } = options;
  const maxNewTokens = options.maxNewTokens ?? task.maxNewTokens;
  const template = scoredTemplate(task, options);
  checkReader(options);
  const { items: all, source } = await loadItems(options, template, split);
  const items = limited(all, options.limit);
  const chat = items.some(({ rendered }) => rendered.chat === true);
  const startedAt = performance.now();
  const figures = await score(options, items, template);
  const judged = figures.accuracy === null;
  const rowGroups = items.map(({ groups }) => groups);
  return {
    task: task.name,
    version: task.version,
    split,
    scorer,
    ...(scorer === "generate" ? { reader } : {}),
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
      parts: partsText(items),
    }),
    ...(source === undefined ? {} : { source }),
    chance: chanceOf(task, items),
    seconds: (performance.now() - startedAt) / 1000,
    ...figures,
    truncated: figures.rows.filter(({ truncated = false }) => truncated).length,
    groups: judged ? undefined : groupFigures(figures.rows, rowGroups),
  };
};
