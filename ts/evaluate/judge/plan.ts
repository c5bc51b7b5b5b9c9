import { MiloraError } from "../../errors.js";
import { canonicalJson } from "../../util/records.js";
import { counted } from "../../util/text.js";
import { judgePrompt, type JudgeMode } from "./prompts.js";
import type { AnsweredQuestion, AnsweredResult } from "./saved-results.js";

/** Which answers a judge is asked about. */
export interface JudgementPlace {
  /** The methods whose answers are shown: one, or two in the order in which they stand in the prompt. */
  readonly shown: readonly string[];
  readonly question: number;
  readonly category: string;
  /** The turn that is graded, from 1. */
  readonly turn: number;
  /** The number of the judgement, from 0, where several are made of the same answers. */
  readonly round: number;
}

export interface Judgement extends JudgementPlace {
  readonly prompt: string;
  /** Whether the prompt shows right answers. */
  readonly referenced: boolean;
}

/** The same for the same judgement in another run. */
export const placeKey = ({ shown, question, turn, round }: JudgementPlace): string =>
  JSON.stringify([shown, question, turn, round]);

/** Every pair of methods, once. */
export const pairsOf = <Item>(items: readonly Item[]): readonly (readonly [Item, Item])[] =>
  items.flatMap((first, index) => items.slice(index + 1).map((second) => [first, second] as const));

const materialOf = ({ answers: _answers, ...material }: AnsweredQuestion): string => canonicalJson(material);

const checkSameQuestions = ([first, ...others]: readonly AnsweredResult[]): void => {
  if (first === undefined || others.length === 0) {
    throw new MiloraError("input/invalid-spec", "Pairwise judging compares methods; one has no other to compare.", {
      path: "results",
      allowed: "two results or more",
    });
  }
  const wanted = first.questions.map(materialOf);
  for (const { file, questions } of others) {
    const found = questions.map(materialOf);
    if (found.length === wanted.length && found.every((material, index) => material === wanted[index])) continue;
    throw new MiloraError("input/invalid-spec", `${first.file} and ${file} don't answer the same questions.`, {
      file,
      found: `${counted(found.length, "question")}, ${found.filter((one) => wanted.includes(one)).length} in common`,
      allowed: `the ${counted(wanted.length, "question")} of ${first.file}`,
    });
  }
};

const judgementsOfQuestion = (
  mode: JudgeMode,
  shownResults: readonly (readonly AnsweredResult[])[],
  position: number,
  rounds: number,
): readonly Judgement[] => {
  const shownAnswers = shownResults.flatMap((results) => {
    const answered = results.flatMap(({ questions }) => questions.slice(position, position + 1));
    const [first] = answered;
    return first === undefined ? [] : [{ shown: results.map(({ label }) => label), first, answered }];
  });
  const turns = Math.max(0, ...shownAnswers.map(({ first }) => first.turns.length));
  return Array.from({ length: turns * rounds }, (_, index) => {
    const turn = Math.floor(index / rounds) + 1;
    return shownAnswers
      .filter(({ first }) => turn <= first.turns.length)
      .map(({ shown, first: { question, category, turns: messages, references }, answered }) => ({
        shown,
        question,
        category,
        turn,
        round: index % rounds,
        ...judgePrompt(mode, turn, { messages, references, replies: answered.map(({ answers }) => answers) }),
      }));
  }).flat();
};

/**
 * Every judgement to be made, question by question, so that what an interrupted run made is whole questions.
 * Pairwise, each pair of methods is shown in both orders. Errors: `input/invalid-spec` where pairs can't be made.
 */
export const planJudgements = (
  mode: JudgeMode,
  results: readonly AnsweredResult[],
  rounds: number,
): readonly Judgement[] => {
  if (mode === "pairwise") checkSameQuestions(results);
  const shownResults =
    mode === "single"
      ? results.map((result) => [result])
      : pairsOf(results).flatMap(([first, second]) => [
          [first, second],
          [second, first],
        ]);
  const longest = Math.max(...results.map(({ questions }) => questions.length));
  return Array.from({ length: longest }, (_, position) =>
    judgementsOfQuestion(mode, shownResults, position, rounds),
  ).flat();
};
