import { z } from "zod";
import { alpacaPrompt } from "../data/alpaca-prompt.js";
import { MiloraError } from "../errors.js";
import { filled, findTaskFile, readTaskRows, rowByFields, taskFile } from "./data-files.js";
import { type HubFiles, hubRows, linesFile } from "./hub-source.js";
import { reasonedTarget } from "./rationale.js";
import { compatNumber } from "./readers/compat.js";
import { readNumber } from "./readers/number.js";
import type { ReaderName } from "./readers/reader.js";
import { checkSplit, type LoadOptions, type Rendered, type SplitName, type Task } from "./task.js";

interface Problem {
  readonly question: string;
  readonly rationale: string;
  /** The number in its shortest decimal form. */
  readonly answer: string;
}

export interface Gsm8kExample extends Problem {
  /** The first training problems, for the few-shot template; none where the training file is not there. */
  readonly shots: readonly Problem[];
}

const numShots = 5;
const hint = "Take GSM8K's own train.jsonl and test.jsonl (https://github.com/openai/grade-school-math).";
const finalAnswer = /####\s*(?<number>-?[\d.,]+)\s*$/;

const ownRow = z
  .object({
    question: filled("the question's text"),
    answer: z.string({ error: 'a solution that ends in "#### N"' }),
  })
  .transform(({ question, answer }, context): Problem => {
    const number = readNumber(finalAnswer.exec(answer)?.groups?.["number"] ?? "");
    if (number === null) {
      context.addIssue({ code: "custom", path: ["answer"], message: 'a solution that ends in "#### N"' });
      return z.NEVER;
    }
    return { question: question.trim(), rationale: answer.trim(), answer: number };
  });

/** LLM-Adapters' arithmetic rows (SVAMP and others too): the number apart, a rationale as the output. */
const instructionRow = z
  .object({ instruction: filled("the question's text"), output: z.string().default(""), answer: z.coerce.string() })
  .transform(({ instruction, output, answer }, context): Problem => {
    const number = readNumber(answer);
    if (number === null) {
      context.addIssue({ code: "custom", path: ["answer"], message: "a number" });
      return z.NEVER;
    }
    return { question: instruction.trim(), rationale: output.trim().replace(/^A:\s*/, ""), answer: number };
  });

const problem = rowByFields((value) => ("instruction" in value ? instructionRow : ownRow));

const fileOptions = (split: SplitName, dir: string | undefined) => ({
  task: "gsm8k",
  dir,
  names: [`${split}.jsonl`, `${split}.json`],
  hint,
});

const load = async ({ split, dir }: LoadOptions): Promise<readonly Gsm8kExample[]> => {
  checkSplit(gsm8k, split);
  const problems = await readTaskRows(await taskFile(fileOptions(split, dir)), problem);
  const trainFile = findTaskFile(fileOptions("train", dir));
  const train = split === "train" ? problems : trainFile === undefined ? [] : await readTaskRows(trainFile, problem);
  const shots = train.slice(0, numShots);
  return problems.map((of) => ({ ...of, shots }));
};

const hubSplit = (split: string, file: string): HubFiles =>
  hubRows({
    config: "main",
    split,
    fields: z.object({ question: filled("the question's text"), answer: filled("the solution's text") }),
    map: (of) => ({ row: of }),
    files: linesFile(file),
  });

const hubTrain = hubSplit("train", "gsm8k/train.jsonl");

const target = ({ rationale, answer }: Problem): string =>
  reasonedTarget({ rationale, answer, statement: `#### ${answer}`, read: readNumber });

const questionPrompt = (question: string): string => `Question: ${question}\nAnswer:`;

const rationale = (example: Gsm8kExample): Rendered => ({
  prompt: questionPrompt(example.question),
  answer: ` ${target(example)}`,
});

const fiveShot = (example: Gsm8kExample): Rendered => {
  if (example.shots.length < numShots)
    throw new MiloraError("input/missing-file", `The template five-shot needs ${numShots} training rows of gsm8k.`, {
      path: "data.dir",
      found: String(example.shots.length),
      allowed: "gsm8k/train.jsonl beside the test rows",
      hint,
    });
  // A training row is no example of itself.
  const shots = example.shots.filter(({ question }) => question !== example.question);
  const shown = shots.map((shot) => `${questionPrompt(shot.question)} ${target(shot)}\n\n`);
  return { prompt: `${shown.join("")}${questionPrompt(example.question)}`, answer: ` ${target(example)}` };
};

const instruction = (example: Gsm8kExample): Rendered => ({
  prompt: alpacaPrompt(example.question),
  answer: target(example),
});

const templates: Readonly<Record<string, (example: Gsm8kExample) => Rendered>> = {
  rationale,
  "five-shot": fiveShot,
  instruction,
};

const placeholder: Gsm8kExample = {
  question: "{question}",
  rationale: "{rationale}",
  answer: "{answer}",
  shots: Array.from({ length: numShots }, (_, index) => ({
    question: `{question${index}}`,
    rationale: `{rationale${index}}`,
    answer: "{answer}",
  })),
};

const render = (example: Gsm8kExample, template: string): Rendered => (templates[template] ?? rationale)(example);

const readOutput = (output: string, reader: ReaderName): string | null =>
  reader === "compat" ? compatNumber(output) : readNumber(output);

/**
 * GSM8K: grade-school word problems, answered by a rationale that ends in a number. Templates: `rationale` and
 * `five-shot` (lm-evaluation-harness's form, the first five training rows as examples) and `instruction`
 * (LLM-Adapters' form).
 */
export const gsm8k: Task<Gsm8kExample> = {
  name: "gsm8k",
  version: 1,
  license: "MIT",
  origin: "GSM8K (Cobbe et al., arXiv 2110.14168) in its own JSON lines",
  hub: {
    id: "openai/gsm8k",
    revision: "740312add88f781978c0658806c59bc2815b9866",
    // The test rows' five-shot prompts show training rows.
    splits: { train: [hubTrain], test: [hubSplit("test", "gsm8k/test.jsonl"), hubTrain] },
  },
  templates: Object.keys(templates),
  splits: ["train", "test"],
  scorers: ["generate"],
  shots: { "five-shot": numShots },
  chance: 0,
  labels: [],
  metric: "accuracy",
  maxNewTokens: 256,
  load,
  render,
  read: (output, _example, reader) => ({ answer: readOutput(output, reader) }),
  readOutput: (output, { reader }) => ({ answer: readOutput(output, reader) }),
  correct: ({ answer }) => answer,
  templateSource: (template) => JSON.stringify(render(placeholder, template)),
};
