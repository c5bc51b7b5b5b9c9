import { z } from "zod";
import { alpacaPrompt } from "../data/alpaca-prompt.js";
import { filled, findTaskFile, readTaskRows, taskFile, type TaskFileOptions } from "./data-files.js";
import { checkSplit, type LoadOptions, type Task } from "./task.js";

export interface MtBenchExample {
  readonly questionId: number;
  readonly category: string;
  /** What the user says in each of the two turns. */
  readonly turns: readonly string[];
  /** GPT-4's answers, a turn each, for the questions that have a right one; none for the others. */
  readonly references: readonly string[];
}

const numTurns = 2;
const hint =
  "Take question.jsonl and reference_answer (gpt-4) of FastChat's MT-Bench " +
  "(https://github.com/lm-sys/FastChat, fastchat/llm_judge/data/mt_bench) into the folder mt-bench.";

const question = z.object({
  question_id: z.int({ error: "a whole number" }),
  category: filled("the category's name"),
  turns: z.array(filled("a turn's text"), { error: "two turns" }).length(numTurns, { error: "two turns" }),
});

const reference = z.object({
  question_id: z.int({ error: "a whole number" }),
  choices: z.array(z.object({ turns: z.array(z.string()).min(1) })).min(1, { error: "one choice of turns" }),
});

const fileOptions = (dir: string | undefined, name: string): TaskFileOptions => ({
  task: "mt-bench",
  dir,
  names: [name],
  hint,
});

const readReferences = async (dir: string | undefined): Promise<ReadonlyMap<number, readonly string[]>> => {
  const file = findTaskFile(fileOptions(dir, "reference_answer_gpt-4.jsonl"));
  const rows = file === undefined ? [] : await readTaskRows(file, reference);
  return new Map(rows.map(({ question_id: id, choices }) => [id, choices[0]?.turns ?? []]));
};

const load = async ({ split, dir }: LoadOptions): Promise<readonly MtBenchExample[]> => {
  checkSplit(mtBench, split);
  const rows = await readTaskRows(await taskFile(fileOptions(dir, "question.jsonl")), question);
  const references = await readReferences(dir);
  return rows.map(({ question_id: questionId, category, turns }) => ({
    questionId,
    category,
    turns,
    references: references.get(questionId) ?? [],
  }));
};

/** An answer without a next instruction that the model made up. */
const ownAnswer = (output = ""): string => output.split("\n### Instruction:")[0]?.trim() ?? "";

/** The conversation so far, ready for the next answer; each turn in the form that Alpaca's rows are trained in. */
const conversation = (turns: readonly string[], outputs: readonly string[]): string => {
  const [first = "", ...later] = turns.slice(0, outputs.length + 1);
  return later.reduce(
    (text, turn, index) => `${text}${ownAnswer(outputs[index])}\n\n### Instruction:\n${turn}\n\n### Response:\n`,
    alpacaPrompt(first),
  );
};

/**
 * MT-Bench: 80 questions in eight categories, each with a second turn. Its answers are judged by a model; there is no
 * automatic score.
 */
export const mtBench: Task<MtBenchExample> = {
  name: "mt-bench",
  version: 1,
  license: "Apache-2.0",
  origin: "MT-Bench (Zheng et al., arXiv 2306.05685) in FastChat's JSON lines",
  templates: ["alpaca"],
  splits: ["test"],
  scorers: ["generate"],
  chance: 0,
  labels: [],
  metric: "judged",
  maxNewTokens: 1024,
  load,
  render: ({ turns, references }) => ({ prompt: conversation(turns, []), answer: references[0] ?? "" }),
  read: () => ({ answer: null }),
  readOutput: () => ({ answer: null }),
  correct: () => "",
  groupsOf: ({ category }) => ({ categories: category }),
  nextPrompt: ({ turns }, _template, outputs) =>
    outputs.length < turns.length ? conversation(turns, outputs) : undefined,
  templateSource: () => JSON.stringify(conversation(["{turn1}", "{turn2}"], ["{answer1}"])),
};
