import type { Task } from "./task.js";

/** What two rows share when they are the same: the question, and the right choice's text where there are choices. */
const keyOf = (task: Task, example: unknown): string => {
  const [template = "default"] = task.templates;
  const { prompt, answer, choices } = task.render(example, template);
  return `${prompt}\u0000${choices === undefined ? "" : answer}`.toLowerCase().replaceAll(/\s+/g, " ");
};

/** How many of `test` are also in `train`, but for case and white space. */
export const countDuplicates = (task: Task, train: readonly unknown[], test: readonly unknown[]): number => {
  const known = new Set(train.map((example) => keyOf(task, example)));
  return test.filter((example) => known.has(keyOf(task, example))).length;
};
