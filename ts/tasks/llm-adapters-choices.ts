import { join, resolve } from "node:path";
import { z } from "zod";
import { MiloraError } from "../errors.js";
import { readJsonFile, systemErrorCode } from "../util/files.js";
import { shown } from "../util/text.js";
import type { LoadOptions } from "./task.js";

/** A multiple-choice question as LLM-Adapters' JSON holds it, taken apart. */
export interface ChoiceExample {
  /** LLM-Adapters' own instruction, whole. */
  readonly instruction: string;
  readonly question: string;
  readonly choices: readonly string[];
  /** `answer1` for the first choice, and so on. */
  readonly answer: string;
}

const item = z.object({ instruction: z.string(), answer: z.string().regex(/^answer[1-9]$/) });

const opening = "Please choose the correct answer to the question:";
const formatLine = /\n+Answer format: (?<labels>answer1(?:\/answer\d)*)\s*$/;

/**
 * Cuts "Answer1: … Answer2: …" into its texts. The markers are looked for in order, each after the one before, so
 * that a choice's own words are never taken for one.
 */
const splitChoices = (text: string, count: number): readonly string[] | undefined => {
  const starts: { readonly marker: number; readonly text: number }[] = [];
  for (let number = 1; number <= count; number += 1) {
    const marker = `Answer${number}:`;
    const at = text.indexOf(marker, starts.at(-1)?.text ?? 0);
    if (at < 0) return undefined;
    starts.push({ marker: at, text: at + marker.length });
  }
  return starts.map((start, index) => text.slice(start.text, starts[index + 1]?.marker).trim());
};

/** Question and choices of an instruction; undefined where it is not in LLM-Adapters' form. */
export const parseChoiceInstruction = (
  instruction: string,
): Pick<ChoiceExample, "question" | "choices"> | undefined => {
  const format = formatLine.exec(instruction);
  const firstChoice = instruction.lastIndexOf("\n\nAnswer1:", format?.index ?? 0);
  if (format === null || firstChoice < 0 || !instruction.startsWith(opening)) return undefined;
  const question = instruction.slice(opening.length, firstChoice).trim();
  const count = (format.groups?.["labels"] ?? "").split("/").length;
  const choices = splitChoices(instruction.slice(firstChoice, format.index), count);
  if (choices === undefined || question === "" || choices.some((choice) => choice === "")) return undefined;
  return { question, choices };
};

/** Index of the choice that a label such as `answer2` names. */
export const choiceIndex = (label: string): number => Number(label.slice("answer".length)) - 1;

const badItem = (file: string, index: number, found: unknown, allowed: string): MiloraError =>
  new MiloraError("data/bad-row", `${file}: item ${index} is malformed: found ${shown(found)}, allowed: ${allowed}`, {
    file,
    path: `[${index}]`,
    found: shown(found),
    allowed,
  });

const parseItem = (file: string, value: unknown, index: number): ChoiceExample => {
  const result = item.safeParse(value);
  if (!result.success) throw badItem(file, index, value, '{"instruction", "answer": "answer1" …}');
  const { instruction, answer } = result.data;
  const parts = parseChoiceInstruction(instruction);
  if (parts === undefined) {
    throw badItem(
      file,
      index,
      instruction,
      `"${opening} …", "Answer1: … Answer2: …", "Answer format: answer1/answer2 …"`,
    );
  }
  if (choiceIndex(answer) >= parts.choices.length) {
    throw badItem(file, index, answer, `answer1 to answer${parts.choices.length}`);
  }
  return { instruction, ...parts, answer };
};

const missingFolder = (task: string, dir: string | undefined): MiloraError => {
  const file = dir === undefined ? undefined : resolve(dir, task);
  const found = dir === undefined ? "no data folder was given" : `there is no ${file}`;
  return new MiloraError("input/missing-file", `The task ${task} needs its data files, and ${found}.`, {
    file,
    path: "data.dir",
    found,
    allowed: `a folder with ${task}/train.json and ${task}/test.json`,
    hint: "Take the files from LLM-Adapters' dataset folder (https://github.com/AGI-Edgerunners/LLM-Adapters).",
  });
};

/** Reads `<dir>/<task>/<split>.json`. Errors: `input/missing-file`; `data/bad-row`; `data/empty`. */
export const loadChoiceExamples = async (task: string, options: LoadOptions): Promise<readonly ChoiceExample[]> => {
  if (options.dir === undefined) throw missingFolder(task, undefined);
  const file = resolve(join(options.dir, task, `${options.split}.json`));
  const value = await readJsonFile(file, `the data of ${task}`).catch((error: unknown) => {
    const cause = MiloraError.isInstance(error) ? systemErrorCode(error.cause) : undefined;
    throw cause === "ENOENT" ? missingFolder(task, options.dir) : error;
  });
  if (!Array.isArray(value)) throw badItem(file, 0, value, "a JSON array");
  if (value.length === 0) throw new MiloraError("data/empty", `${file} holds no rows.`, { file });
  return value.map((entry: unknown, index) => parseItem(file, entry, index));
};
