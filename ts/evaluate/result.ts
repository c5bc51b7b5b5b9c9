import type { ReaderName } from "../tasks/readers/reader.js";
import { type Scorer, type SplitName, type Task, templateHash } from "../tasks/task.js";
import { wilsonInterval } from "../util/statistics.js";

/** One scored example. */
export interface ScoredRow {
  /** Index in the split. */
  readonly index: number;
  readonly prompt: string;
  /** What the model wrote; scorer `generate` only. */
  readonly output?: string | undefined;
  /** Log-likelihood (nats) and tokens of each choice; scorer `loglik` only. */
  readonly scores?: readonly { readonly logLikelihood: number; readonly tokens: number }[] | undefined;
  /** The answer as read; null where none could be. */
  readonly read: string | null;
  readonly expected: string;
  readonly correct: boolean;
}

export interface EvaluationResult {
  readonly task: string;
  readonly version: number;
  readonly split: SplitName;
  readonly scorer: Scorer;
  readonly template: string;
  readonly templateHash: string;
  /** One line that names all that decides the score. */
  readonly protocol: string;
  /** For `loglik`: the normalised one. */
  readonly accuracy: number;
  /** By the summed log-likelihood of a choice; scorer `loglik` only. */
  readonly accuracySum?: number | undefined;
  /** By the log-likelihood for each character of a choice; scorer `loglik` only. */
  readonly accuracyNormalized?: number | undefined;
  readonly correct: number;
  readonly total: number;
  /** Outputs from which no answer could be read. */
  readonly unparsed: number;
  /** Accuracy of a blind guess on these rows. */
  readonly chance: number;
  /** Accuracy of always giving these rows' most frequent answer. */
  readonly majority: number;
  /** Wilson's 95 % interval of the accuracy. */
  readonly interval: readonly [number, number];
  readonly seconds: number;
  /** Tokens that the model wrote, and how many a second of generation; scorer `generate` only. */
  readonly newTokens?: number | undefined;
  readonly tokensPerSecond?: number | undefined;
  readonly rows: readonly ScoredRow[];
}

/** What was decided before the first row was scored. */
export interface Protocol {
  readonly task: Task;
  readonly template: string;
  readonly split: SplitName;
  readonly scorer: Scorer;
  readonly reader: ReaderName;
  readonly beams: number;
  readonly maxNewTokens: number;
  readonly chat: boolean;
  readonly total: number;
  readonly available: number;
}

const scorerText = ({ scorer, beams, maxNewTokens, reader, task }: Protocol): string =>
  scorer === "generate"
    ? `generate (${beams === 1 ? "greedy" : `${beams} beams`}, at most ${maxNewTokens} new tokens), ` +
      `${reader} reader, ${task.metric}`
    : "loglik (the choice with the highest log-likelihood, by character; by sum beside it)";

/** All that decides the score, in one line. */
export const protocolText = (protocol: Protocol): string => {
  const { task, template, split, total, available, chat } = protocol;
  const rows = total === available ? `all ${total} ${split} rows` : `first ${total} of ${available} ${split} rows`;
  const form = chat ? "chat template" : "plain prompt";
  return [
    `${task.name} v${task.version}`,
    rows,
    `template ${template} (${templateHash(task, template)})`,
    form,
    "zero-shot",
    scorerText(protocol),
  ].join("; ");
};

/** Accuracy of always giving the most frequent of `answers`; 0 of nothing. */
export const majorityScore = (answers: readonly string[]): number => {
  const counts = new Map<string, number>();
  for (const answer of answers) counts.set(answer, (counts.get(answer) ?? 0) + 1);
  return answers.length === 0 ? 0 : Math.max(...counts.values()) / answers.length;
};

/** The figures of scored rows: those that every scorer has. */
export const summarize = (
  rows: readonly ScoredRow[],
): Pick<EvaluationResult, "accuracy" | "correct" | "total" | "unparsed" | "majority" | "interval"> => {
  const correct = rows.filter((row) => row.correct).length;
  const total = rows.length;
  return {
    accuracy: total === 0 ? 0 : correct / total,
    correct,
    total,
    unparsed: rows.filter((row) => row.read === null).length,
    majority: majorityScore(rows.map((row) => row.expected)),
    interval: wilsonInterval(correct, total),
  };
};
