import { evaluate } from "../evaluate/evaluate.js";
import type { EvaluationResult } from "../evaluate/result.js";
import type { ResultRecord } from "../runs/result-record.js";
import { taskByName } from "../tasks/registry.js";
import { scoredTemplate, type Task } from "../tasks/task.js";
import type { Evaluated, EvaluateOptions } from "./call-options.js";
import type { ModelSession } from "./session.js";

/** The tasks that are to be scored; a wrong name or template is told before the first one, not after the last but one. */
export const tasksOf = (options: EvaluateOptions): readonly Task[] => {
  const tasks = options.tasks.map((task) => (typeof task === "string" ? taskByName(task) : task));
  for (const task of tasks) scoredTemplate(task, options);
  return tasks;
};

/** Scores one task after another; `adapter` is the name on the Python side, null the base model. */
export const evaluateOn = async (
  session: ModelSession,
  options: Omit<EvaluateOptions, "tasks" | "adapter"> & {
    readonly tasks: readonly Task[];
    readonly adapter: string | null;
    readonly record: Omit<ResultRecord, "date">;
  },
): Promise<Evaluated> => {
  const { tasks, record, scorer = "generate" } = options;
  const backend = await session.backend();
  const rows = { hub: session.hub(options.signal), choice: options.hub };
  const results: EvaluationResult[] = [];
  for (const task of tasks) {
    const onProgress = (done: number, total: number): void => options.onProgress?.(task.name, done, total);
    const result = await evaluate({ ...options, ...rows, backend, task, scorer, onProgress });
    results.push({ ...result, record: { ...record, date: new Date().toISOString() } });
  }
  return { results };
};
