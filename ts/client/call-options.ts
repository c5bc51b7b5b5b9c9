import type { GenerateTextsOptions, TextRequest } from "../generate/generate-texts.js";
import type { TrainEvent } from "../runs/events.js";
import type { Scorer, Task } from "../tasks/task.js";

/** How a run is watched, stopped and resumed. */
export interface TrainOptions {
  /** The run's folder; `runs/<time>` by default. */
  readonly out?: string | undefined;
  /** Goes on from the newest whole checkpoint in `out`. */
  readonly resume?: boolean | undefined;
  /** An abort ends the run after the step in progress, saved. */
  readonly signal?: AbortSignal | undefined;
  /** Draws a progress line on stderr; where stderr is a terminal by default. */
  readonly progress?: boolean | undefined;
  readonly onEvent?: ((event: TrainEvent) => void) | undefined;
}

export interface EvaluateOptions {
  /** A name that `load` was given, or the folder of an adapter; the base model without it. */
  readonly adapter?: string | undefined;
  /** Names of built-in tasks, or tasks of your own. */
  readonly tasks: readonly (string | Task)[];
  readonly dir?: string | undefined;
  readonly template?: string | undefined;
  readonly scorer?: Scorer | undefined;
  readonly beams?: number | undefined;
  readonly limit?: number | undefined;
  readonly batchSize?: number | undefined;
  readonly maxNewTokens?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((task: string, done: number, total: number) => void) | undefined;
}

/** A prompt for the base model or for a tenant's adapter. */
export interface GenerateRequest extends Omit<TextRequest, "adapter"> {
  /** Name of a loaded adapter; the base model without it. */
  readonly tenant?: string | undefined;
}

export type GenerateOptions = Omit<GenerateTextsOptions, "backend" | "requests">;

export interface RoutingOptions {
  /** A name that `load` was given, or the folder of an adapter. */
  readonly adapter: string;
  /** Names of built-in tasks, or tasks of your own. */
  readonly tasks: readonly (string | Task)[];
  readonly dir?: string | undefined;
  readonly template?: string | undefined;
  /** Only the first prompts of each task's test set. */
  readonly limit?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}
