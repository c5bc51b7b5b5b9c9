import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";

interface MadeUpQuestion {
  readonly question: number;
  readonly category: string;
  readonly references?: readonly string[] | undefined;
}

/** Two questions: one of writing, one of maths with right answers. */
export const twoQuestions: readonly MadeUpQuestion[] = [
  { question: 81, category: "writing" },
  { question: 111, category: "math", references: ["the answer is 4", "the answer is 8"] },
];

/** A result of MT-Bench as `milora eval --outputs` writes it; a method's answers name it. */
export const answeredResult = (method: string, questions: readonly MadeUpQuestion[] = twoQuestions): unknown => ({
  task: "mt-bench",
  template: "chat",
  protocol: `mt-bench v1; answers of ${method}`,
  rows: questions.map(({ question, category, references = [] }, index) => ({
    index,
    prompt: `asks ${question} first`,
    output: `${method} replies to ${question} first`,
    turns: ["first", "then"].map((turn) => ({
      prompt: `asks ${question} ${turn}`,
      output: `${method} replies to ${question} ${turn}`,
    })),
    material: { question, category, turns: [`asks ${question} first`, `asks ${question} then`], references },
    read: null,
    expected: "",
    correct: false,
  })),
});

/** Writes a file of results beside others of other tasks, and gives its path. */
export const writeResults = async (folder: string, name: string, results: readonly unknown[]): Promise<string> => {
  const file = join(folder, name);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, JSON.stringify({ results }));
  return file;
};
