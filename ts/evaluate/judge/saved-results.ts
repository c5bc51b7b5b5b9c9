import { stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { z } from "zod";
import { MiloraError } from "../../errors.js";
import { runFolder } from "../../runs/run-folder.js";
import { mtBench, ownAnswer } from "../../tasks/mt-bench.js";
import type { JudgeMaterial } from "../../tasks/task.js";
import { readJsonFile } from "../../util/files.js";
import { shortHash } from "../../util/records.js";

/** A model's answers to one question, a turn each. */
export interface AnsweredQuestion extends JudgeMaterial {
  readonly answers: readonly string[];
}

/** The answers of one method, as they were saved. */
export interface AnsweredResult {
  /** The method's name in tables and prompts' records. */
  readonly label: string;
  readonly file: string;
  /** Where its judgings lie, without the mode and the ending. */
  readonly judgings: string;
  /** The line that says how the answers were made. */
  readonly protocol: string;
  /** Checksum of questions and answers. */
  readonly hash: string;
  readonly questions: readonly AnsweredQuestion[];
}

const materialSchema = z.object({
  question: z.int(),
  category: z.string(),
  turns: z.array(z.string()).min(1),
  references: z.array(z.string()),
});

const rowSchema = z.object({
  material: materialSchema.optional(),
  output: z.string(),
  turns: z.array(z.object({ output: z.string() })).optional(),
});

const resultSchema = z.object({
  task: z.string(),
  template: z.string(),
  protocol: z.string(),
  rows: z.array(z.unknown()).optional(),
});

const runResult = join("results", `${mtBench.name}-generate.json`);

const isFolder = async (path: string): Promise<boolean> =>
  stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );

const exists = async (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

/** `name=path`, or a path: of a file, or of a run's folder. */
const placeOf = async (argument: string): Promise<Pick<AnsweredResult, "label" | "file" | "judgings">> => {
  const [, name, named = argument] = (await exists(argument)) ? [] : (/^([^=/\\]+)=(.+)$/s.exec(argument) ?? []);
  const file = resolve((await isFolder(named)) ? join(named, runResult) : named);
  if (file.endsWith(runResult)) {
    const run = dirname(dirname(file));
    return { label: name ?? basename(run), file, judgings: join(runFolder(run).judgings, mtBench.name) };
  }
  const bare = file.replace(/\.json$/i, "");
  return { label: name ?? basename(bare), file, judgings: `${bare}-judged` };
};

const noResult = (file: string, found: string): MiloraError =>
  new MiloraError("input/invalid-spec", `${file} holds no answers of ${mtBench.name} (found: ${found}).`, {
    file,
    found,
    allowed: "the outputs of one evaluation on mt-bench",
    hint: `Make them: milora eval --tasks ${mtBench.name} --outputs answers.json …`,
  });

/** The one result of MT-Bench in a file of `--outputs`, or in a run's results. */
const pickResult = (file: string, value: unknown): z.output<typeof resultSchema> => {
  const listed = z.object({ results: z.array(z.unknown()) }).safeParse(value);
  const results = (listed.success ? listed.data.results : [value]).flatMap((item) => {
    const parsed = resultSchema.safeParse(item);
    return parsed.success ? [parsed.data] : [];
  });
  const [result, ...more] = results.filter(({ task }) => task === mtBench.name);
  const found = results.map(({ task }) => task).join(", ");
  if (result === undefined || more.length > 0) throw noResult(file, found === "" ? "no results" : found);
  return result;
};

const badRow = (file: string, index: number, problem: string): MiloraError =>
  new MiloraError("data/bad-row", `${file}, row ${index}: ${problem}`, { file, path: `rows[${index}]` });

const answeredQuestion = (file: string, template: string, row: unknown, index: number): AnsweredQuestion => {
  const parsed = rowSchema.safeParse(row);
  const issue = parsed.error?.issues[0];
  if (!parsed.success) throw badRow(file, index, `${issue?.path.join(".") ?? ""}: ${issue?.message ?? "no row"}`);
  const { material, output, turns = [{ output }] } = parsed.data;
  if (material === undefined) {
    throw badRow(file, index, "it doesn't hold its question; evaluate again with this version of milora.");
  }
  if (turns.length !== material.turns.length) {
    throw badRow(file, index, `it has ${turns.length} answers to ${material.turns.length} turns.`);
  }
  return { ...material, answers: turns.map((turn) => ownAnswer(template, turn.output)) };
};

const readResult = async (argument: string): Promise<AnsweredResult> => {
  const place = await placeOf(argument);
  const { file } = place;
  const { template, protocol, rows = [] } = pickResult(file, await readJsonFile(file, "the results"));
  const questions = rows.map((row, index) => answeredQuestion(file, template, row, index));
  if (questions.length === 0) throw noResult(file, "no rows");
  return { ...place, protocol, hash: shortHash(questions), questions };
};

const checkLabels = (results: readonly AnsweredResult[]): void => {
  for (const [index, { label, file }] of results.entries()) {
    const same = results.slice(0, index).find((other) => other.label === label);
    if (same === undefined) continue;
    throw new MiloraError("input/invalid-spec", `Both ${same.file} and ${file} are called "${label}".`, {
      found: label,
      hint: `Give each a name of its own: first=${same.file} second=${file}`,
    });
  }
};

/**
 * Reads the answers to be judged: files of `milora eval --outputs`, or run folders; `name=path` names a method.
 * Errors: `input/missing-file`; `input/invalid-spec` (no answers of MT-Bench, one name twice); `data/bad-row`.
 */
export const readAnsweredResults = async (places: readonly string[]): Promise<readonly AnsweredResult[]> => {
  const results: AnsweredResult[] = [];
  for (const place of places) results.push(await readResult(place));
  checkLabels(results);
  return results;
};
