import { z } from "zod";
import { alpacaPrompt } from "../data/alpaca-prompt.js";
import type { ChatMessage } from "../data/row.js";
import { filled, findTaskFile, readTaskRows, taskFile, type TaskFileOptions } from "./data-files.js";
import { type HubFiles, hubRows, linesFile } from "./hub-source.js";
import { type Asked, checkSplit, type LoadOptions, type Task } from "./task.js";

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

/** MT-Bench numbers its questions from here. */
const firstQuestion = 81;

const hubQuestions: HubFiles = hubRows({
  split: "train",
  fields: z.object({
    prompt: z.array(filled("a turn's text"), { error: "two turns" }).length(numTurns, { error: "two turns" }),
    category: filled("the category's name"),
  }),
  map: ({ prompt: turns, category }) => ({ row: { category, turns } }),
  files: (rows) =>
    linesFile("mt-bench/question.jsonl")(rows.map((row, index) => ({ question_id: firstQuestion + index, ...row }))),
});

/** The model's answer as its next turn and a judge see it: without a next instruction that it made up. */
export const ownAnswer = (template: string, output = ""): string =>
  (template === "chat" ? output : (output.split("\n### Instruction:")[0] ?? "")).trim();

type Conversation = (turns: readonly string[], outputs: readonly string[]) => Asked;

/** Each turn in the form that Alpaca's rows are trained in. */
const alpacaConversation: Conversation = (turns, outputs) => {
  const [first = "", ...later] = turns.slice(0, outputs.length + 1);
  const prompt = later.reduce((text, turn, index) => {
    return `${text}${ownAnswer("alpaca", outputs[index])}\n\n### Instruction:\n${turn}\n\n### Response:\n`;
  }, alpacaPrompt(first));
  return { prompt };
};

/** The turns as messages, for the checkpoint's own chat template. */
const chatConversation: Conversation = (turns, outputs) => {
  const prompt = turns[outputs.length] ?? "";
  if (outputs.length === 0) return { prompt, chat: true };
  const before = outputs.flatMap((output, index): ChatMessage[] => [
    { role: "user", content: turns[index] ?? "" },
    { role: "assistant", content: ownAnswer("chat", output) },
  ]);
  return { prompt, chat: true, messages: [...before, { role: "user", content: prompt }] };
};

/** The conversation so far, ready for the next answer. */
const conversation = (template: string): Conversation => (template === "chat" ? chatConversation : alpacaConversation);

/**
 * MT-Bench: 80 questions in eight categories, each with a second turn. Its answers are judged by a model; there is no
 * automatic score.
 */
export const mtBench: Task<MtBenchExample> = {
  name: "mt-bench",
  version: 1,
  license: "Apache-2.0",
  origin: "MT-Bench (Zheng et al., arXiv 2306.05685) in FastChat's JSON lines",
  hub: {
    id: "HuggingFaceH4/mt_bench_prompts",
    revision: "main",
    splits: { test: [hubQuestions] },
    note: "without GPT-4's reference answers, which judges of mathematics, code and reasoning see",
  },
  templates: ["alpaca", "chat"],
  splits: ["test"],
  scorers: ["generate"],
  chance: 0,
  labels: [],
  metric: "judged",
  maxNewTokens: 1024,
  load,
  render: ({ turns, references }, template) => ({
    ...conversation(template)(turns, []),
    answer: references[0] ?? "",
  }),
  read: () => ({ answer: null }),
  readOutput: () => ({ answer: null }),
  correct: () => "",
  groupsOf: ({ category }) => ({ categories: category }),
  nextPrompt: ({ turns }, template, outputs) =>
    outputs.length < turns.length ? conversation(template)(turns, outputs) : undefined,
  judgeMaterial: ({ questionId: question, category, turns, references }) => ({
    question,
    category,
    turns,
    references,
  }),
  templateSource: (template) => {
    const { prompt, messages } = conversation(template)(["{turn1}", "{turn2}"], ["{answer1}"]);
    return JSON.stringify(messages ?? prompt);
  },
};
