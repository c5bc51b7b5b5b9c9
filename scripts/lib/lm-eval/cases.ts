import { taskByName } from "../../../ts/tasks/registry.js";
import type { Rendered, Task } from "../../../ts/tasks/task.js";

/** A task of ours in the form that lm-evaluation-harness asks it in. */
export interface AgreementCase {
  readonly task: Task;
  readonly template: string;
  readonly scorer: "loglik" | "generate";
  /** The harness' own task with these prompts, and the fields of its YAML file that are set anew for them. */
  readonly harness?: { readonly name: string; readonly changes: Readonly<Record<string, unknown>> } | undefined;
  /** Requests that the harness computes at once. */
  readonly batch: number;
  /** Rows that are computed, and then kept, at once. */
  readonly chunk: number;
}

/** One row to compare; `index` is its place in the test set. */
export interface AgreementRow {
  readonly index: number;
  readonly example: unknown;
  readonly rendered: Rendered;
}

/** The MMLU subject that is compared: over 200 questions, short ones. */
const subject = "marketing";

const oneSubject = (task: Task): Task => ({
  ...task,
  name: `mmlu-${subject}`,
  load: async (options) =>
    (await task.load(options)).filter((example) => task.groupsOf?.(example)["subjects"] === subject),
});

const choices = { template: "choice-text", scorer: "loglik", batch: 16, chunk: 40 } as const;

/** In the order of the table. */
export const agreementCases: readonly AgreementCase[] = [
  { ...choices, task: taskByName("arc-easy"), harness: { name: "arc_easy", changes: {} } },
  { ...choices, task: taskByName("piqa"), harness: { name: "piqa", changes: {} } },
  {
    ...choices,
    task: oneSubject(taskByName("mmlu")),
    template: "letter",
    // Without --num_fewshot 5 the harness shows none.
    harness: { name: `mmlu_${subject}`, changes: { num_fewshot: 5 } },
    // The harness keeps the logits of whole prompts: 600 tokens are 120 MB a row.
    batch: 4,
  },
  { ...choices, task: taskByName("boolq-passage"), harness: { name: "boolq", changes: {} } },
  // The harness asks BoolQ with its passage only.
  { ...choices, task: taskByName("boolq") },
  // A prompt that ends in white space; the harness has no such task.
  { ...choices, task: { ...taskByName("arc-easy"), name: "arc-easy-choice-label" }, template: "choice-label" },
  {
    task: taskByName("gsm8k"),
    template: "five-shot",
    scorer: "generate",
    // As it stands, the harness draws five shots at random.
    harness: { name: "gsm8k", changes: { fewshot_config: { sampler: "first_n" } } },
    batch: 20,
    chunk: 20,
  },
];

/** The first rows of a case. Errors: those of the task's data. */
export const agreementRows = async (
  { task, template }: AgreementCase,
  { dir, limit }: { readonly dir: string; readonly limit: number },
): Promise<readonly AgreementRow[]> => {
  const examples = (await task.load({ dir, split: "test" })).slice(0, limit);
  return examples.map((example, index) => ({ index, example, rendered: task.render(example, template) }));
};
