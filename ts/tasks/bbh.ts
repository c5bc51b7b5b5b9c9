import { z } from "zod";
import { checkedRows } from "../data/read-rows.js";
import { parsed } from "../data/row.js";
import { MiloraError } from "../errors.js";
import { oneLine } from "../util/text.js";
import { filled, findTaskFile, readTaskText, taskFile, type TaskFileOptions } from "./data-files.js";
import { type HubFiles, hubRows } from "./hub-source.js";
import { readBoolean } from "./readers/boolean.js";
import { readChoice } from "./readers/choice.js";
import { readLetter } from "./readers/letter.js";
import { readNumber } from "./readers/number.js";
import { readStatedText } from "./readers/stated.js";
import { checkSplit, type LoadOptions, type ReadOptions, type Rendered, type Task } from "./task.js";

/** How a task's answers look: a choice in brackets, one of two words, a number, or words in order. */
type AnswerKind = "option" | "number" | "text" | readonly [string, string];

/** The 27 tasks with their answers' kind. */
const kinds: Readonly<Record<string, AnswerKind>> = {
  boolean_expressions: ["True", "False"],
  causal_judgement: ["Yes", "No"],
  date_understanding: "option",
  disambiguation_qa: "option",
  dyck_languages: "text",
  formal_fallacies: ["valid", "invalid"],
  geometric_shapes: "option",
  hyperbaton: "option",
  logical_deduction_five_objects: "option",
  logical_deduction_seven_objects: "option",
  logical_deduction_three_objects: "option",
  movie_recommendation: "option",
  multistep_arithmetic_two: "number",
  navigate: ["Yes", "No"],
  object_counting: "number",
  penguins_in_a_table: "option",
  reasoning_about_colored_objects: "option",
  ruin_names: "option",
  salient_translation_error_detection: "option",
  snarks: "option",
  sports_understanding: ["yes", "no"],
  temporal_sequences: "option",
  tracking_shuffled_objects_five_objects: "option",
  tracking_shuffled_objects_seven_objects: "option",
  tracking_shuffled_objects_three_objects: "option",
  web_of_lies: ["Yes", "No"],
  word_sorting: "text",
};

/** The 27 tasks' names, in alphabetic order. */
export const bbhTaskNames: readonly string[] = Object.keys(kinds);

export interface BbhExample {
  /** Name of the task, such as `navigate`. */
  readonly task: string;
  readonly input: string;
  readonly target: string;
  /** The task's three worked examples, as its authors wrote them. */
  readonly shots: string;
}

const hint = "Take the folders bbh and cot-prompts of https://github.com/suzgunmirac/BIG-Bench-Hard, as bbh.";

const fileOptions = (dir: string | undefined, names: readonly string[], folder = "bbh"): TaskFileOptions => ({
  task: "bbh",
  dir,
  folders: [folder],
  names,
  hint,
});

const optionPattern = /^\((?<letter>[A-Z])\)/gm;

/** Letters of the options that a question lists. */
const optionLetters = (input: string): readonly string[] =>
  [...input.matchAll(optionPattern)].map((match) => match.groups?.["letter"] ?? "");

const fileForm = z.object({ examples: z.array(z.unknown()) });
const row = z
  .object({ input: filled("the question's text"), target: filled("the answer's text") })
  .transform((example, context) => {
    const known = optionLetters(example.input).map((letter) => `(${letter})`);
    if (/^\([A-Z]\)$/.test(example.target) && !known.includes(example.target))
      context.addIssue({ code: "custom", path: ["target"], message: known.join(", ") || "no option" });
    return example;
  });

const readExamples = async (file: string): Promise<readonly z.output<typeof row>[]> => {
  let value: unknown;
  try {
    value = JSON.parse(await readTaskText(file));
  } catch (cause) {
    if (MiloraError.isInstance(cause)) throw cause;
    throw new MiloraError("input/invalid-spec", `${file} is not JSON: ${String(cause)}`, { file, cause });
  }
  const found = fileForm.safeParse(value);
  if (!found.success)
    throw new MiloraError("data/bad-row", `${file} has no list of examples.`, {
      file,
      path: "examples",
      allowed: '{"examples": [{"input", "target"}]}',
    });
  const raw = found.data.examples.map((example, item) => ({ line: undefined, item, value: example }));
  return checkedRows(file, raw, (example) => parsed(row, example, (whole) => whole));
};

/** The file's text below its line of dashes (above it stands a mark against training on it). */
const readShots = async (file: string): Promise<string> => {
  const text = (await readTaskText(file)).replaceAll("\r\n", "\n");
  return text
    .slice(/^-+\n/m.exec(text)?.index ?? 0)
    .replace(/^-+\n/, "")
    .trim();
};

const loadTask = async (task: string, dir: string | undefined): Promise<readonly BbhExample[]> => {
  const file = findTaskFile(fileOptions(dir, [`${task}.json`]));
  if (file === undefined) return [];
  const shots = await readShots(await taskFile(fileOptions(dir, [`${task}.txt`], "bbh/cot-prompts")));
  return (await readExamples(file)).map((example) => ({ task, shots, ...example }));
};

/** The tasks that are there, in alphabetic order; a result says how many. */
const load = async ({ split, dir }: LoadOptions): Promise<readonly BbhExample[]> => {
  checkSplit(bbh, split);
  await taskFile(
    fileOptions(
      dir,
      bbhTaskNames.map((name) => `${name}.json`),
    ),
  );
  return (await Promise.all(bbhTaskNames.map(async (name) => await loadTask(name, dir)))).flat();
};

const hubExamples = (task: string): HubFiles =>
  hubRows({
    config: task,
    split: "test",
    fields: z.object({ input: filled("the question's text"), target: filled("the answer's text") }),
    map: (of) => ({ row: of }),
    files: (examples) => ({ [`bbh/${task}.json`]: `${JSON.stringify({ examples })}\n` }),
  });

const numShots = 3;
const opening = "A: Let's think step by step.";
const shotsForm = `${numShots} worked examples, each with "${opening}"`;

/** The authors' prompts: the data set of the examples has none. */
const hubShots: HubFiles = hubRows({
  config: "few_shot_prompts",
  split: "few_shot_prompts",
  elsewhere: { id: "Joschka/big_bench_hard", revision: "76eaa8c29ad448752cd44201a1246618e2454cac" },
  fields: z.object({
    dataset_name: z.string(),
    chain_of_thought_prompt: z
      .string()
      .refine((text) => text.split(opening).length === numShots + 1, { error: shotsForm }),
  }),
  map: ({ dataset_name: task, chain_of_thought_prompt: shots }) => ({ row: { task, shots } }),
  files: (rows) => Object.fromEntries(rows.map(({ task, shots }) => [`bbh/cot-prompts/${task}.txt`, `${shots}\n`])),
});

const render = ({ input, target, shots }: BbhExample): Rendered => ({
  prompt: `${shots}\n\nQ: ${input}\nA: Let's think step by step.\n`,
  answer: `So the answer is ${target}.`,
});

const bracketed = (letter: string | null): string | null => (letter === null ? null : `(${letter})`);

const alphabet = Array.from({ length: 26 }, (_, index) => String.fromCodePoint(65 + index));

/** One of a pair as it is spelt in the targets; yes and no are true and false in other words. */
const readPair = (output: string, [first, second]: readonly [string, string]): string | null => {
  if (first === "valid") return readChoice(output, [first, second]);
  const read = readBoolean(output);
  return read === null ? null : read === "true" ? first : second;
};

/** Three rows of the data have a text as their target where the others have an option. */
const kindOf = ({ task, target }: BbhExample): AnswerKind => {
  const kind = kinds[task] ?? "text";
  return kind === "option" && !/^\([A-Z]\)$/.test(target) ? "text" : kind;
};

const readAs = (kind: AnswerKind, output: string, input: string): string | null => {
  if (kind === "option") return bracketed(readLetter(output, optionLetters(input)));
  if (kind === "number") return readNumber(output);
  if (kind === "text") return readStatedText(output);
  return readPair(output, kind);
};

/** The rule of BBH's own code: what follows the last "answer is ", and of options the first one of the alphabet. */
const readCompat = (output: string): string => {
  const stated = (output.split("answer is ").at(-1) ?? "").trim();
  const option = alphabet.find((letter) => stated.includes(`(${letter})`));
  return option === undefined ? stated.replace(/\.$/, "") : `(${option})`;
};

const readOutput = (output: string, { reader }: ReadOptions): string | null => {
  if (reader === "compat") return readCompat(output);
  const stated = readStatedText(output);
  const option = /^\((?<letter>[A-Z])\)/.exec(stated ?? "")?.groups?.["letter"];
  return option === undefined ? stated : `(${option})`;
};

const chanceOf = (example: BbhExample): number => {
  const kind = kindOf(example);
  if (kind === "option") return 1 / optionLetters(example.input).length;
  return kind === "number" || kind === "text" ? 0 : 1 / 2;
};

/**
 * BIG-Bench Hard: 27 tasks, each asked after its authors' three worked examples, with a chain of thought. The reader
 * `compat` is the rule of the authors' own code.
 */
export const bbh: Task<BbhExample> = {
  name: "bbh",
  version: 1,
  license: "MIT",
  origin: "BIG-Bench Hard (Suzgun et al., arXiv 2210.09261) in its own JSON files and prompts",
  hub: {
    id: "SaylorTwift/bbh",
    revision: "main",
    splits: { test: [...bbhTaskNames.map(hubExamples), hubShots] },
  },
  templates: ["chain-of-thought"],
  splits: ["test"],
  scorers: ["generate"],
  shots: { "chain-of-thought": numShots },
  // The mean over the 6511 rows; a result takes that of its own rows.
  chance: 0.2624,
  labels: [],
  metric: "exact-match",
  maxNewTokens: 512,
  load,
  render,
  read: (output, example, reader) => ({
    answer: reader === "compat" ? readCompat(output) : readAs(kindOf(example), output, example.input),
  }),
  readOutput: (output, options) => ({ answer: readOutput(output, options) }),
  correct: ({ target }) => oneLine(target),
  chanceOf,
  groupsOf: ({ task }) => ({ tasks: task }),
  templateSource: () => JSON.stringify(render({ task: "", input: "{input}", target: "{target}", shots: "{shots}" })),
};
