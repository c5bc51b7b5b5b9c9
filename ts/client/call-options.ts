import type { EvaluationResult } from "../evaluate/result.js";
import type { Asked, RoutingChange } from "../generate/asked-text.js";
import type { GenerateTextsOptions } from "../generate/generate-texts.js";
import type { TrainEvent } from "../runs/events.js";
import type { HubChoice } from "../spec/data.js";
import type { ReaderName } from "../tasks/readers/reader.js";
import type { Scorer, Task } from "../tasks/task.js";
import type { DecideHook } from "../train/run-handle.js";

/** How a run is watched, stopped and resumed. */
export interface TrainOptions {
  /** The run's folder; `runs/<time>` by default. */
  readonly out?: string | undefined;
  /** Goes on from the newest whole checkpoint in `out`. */
  readonly resume?: boolean | undefined;
  /** Fields of the spec that may differ from the run that is resumed, such as `train.maxSteps`. */
  readonly allow?: readonly string[] | undefined;
  /** An abort ends the run after the step in progress, saved. */
  readonly signal?: AbortSignal | undefined;
  /** Draws a progress line on stderr; where stderr is a terminal by default. */
  readonly progress?: boolean | undefined;
  /** Told each event, as it is written to `events.jsonl`. */
  readonly onEvent?: ((event: TrainEvent) => void) | undefined;
  /** Looks at each step and each evaluation and decides: stop, save, change the rate. The loop waits for it. */
  readonly decide?: DecideHook | undefined;
}

/** What is scored, and how. */
export interface EvaluateOptions {
  /** A name that `load` was given, or the folder of an adapter; the base model without it. */
  readonly adapter?: string | undefined;
  /** Names of built-in tasks, or tasks of your own. */
  readonly tasks: readonly (string | Task)[];
  /** Folder that holds one folder a task; what it lacks is fetched from the hub. */
  readonly dir?: string | undefined;
  /** Takes the rows from the hub, whatever `dir` holds; what it leaves out is each task's own source. */
  readonly hub?: HubChoice | undefined;
  /** One of the task's templates; by default the first that the scorer can use. */
  readonly template?: string | undefined;
  /** How an answer comes about; `generate` by default. */
  readonly scorer?: Scorer | undefined;
  /** How answers are read from what the model wrote: `robust` by default, `compat` as LLM-Adapters does. */
  readonly reader?: ReaderName | undefined;
  /** Beams of the search for the scorer `generate`; 1, greedy, by default. */
  readonly beams?: number | undefined;
  /** Only the first rows of the test set; of a task with parts, spread over them. */
  readonly limit?: number | undefined;
  /** Rows that go to the model at once; 32 of a generation, 128 prompts or choices of a likelihood by default. */
  readonly batchSize?: number | undefined;
  /** Tokens of the longest answer; the task's own by default. */
  readonly maxNewTokens?: number | undefined;
  /** An abort ends the scoring with code `cancelled`. */
  readonly signal?: AbortSignal | undefined;
  /** Told the rows of a task that are done, and how many there are. */
  readonly onProgress?: ((task: string, done: number, total: number) => void) | undefined;
}

/** What `evaluate` gives. */
export interface Evaluated {
  /** A result a task, in the order of the tasks. */
  readonly results: readonly EvaluationResult[];
}

/** A prompt for the base model or for a tenant's adapter. */
export type GenerateRequest = Asked &
  RoutingChange & {
    /** Name of a loaded adapter; the base model without it. */
    readonly tenant?: string | undefined;
  };

/** How texts are generated. */
export type GenerateOptions = Omit<GenerateTextsOptions, "backend" | "requests">;

/** Whose prompts are routed, and by which adapter. */
export interface RoutingOptions {
  /** A name that `load` was given, or the folder of an adapter. */
  readonly adapter: string;
  /** Names of built-in tasks, or tasks of your own. */
  readonly tasks: readonly (string | Task)[];
  /** Folder that holds one folder a task; what it lacks is fetched from the hub. */
  readonly dir?: string | undefined;
  /** One of the task's templates; its first one by default. */
  readonly template?: string | undefined;
  /** Only the first prompts of each task's test set. */
  readonly limit?: number | undefined;
  /** Of so many of them the gates are given prompt by prompt; none by default. */
  readonly explain?: number | undefined;
  /** An abort ends the work with code `cancelled`. */
  readonly signal?: AbortSignal | undefined;
}
