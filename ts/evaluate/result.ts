import type { HubRecord } from "../data/hub.js";
import type { ReaderName } from "../tasks/readers/reader.js";
import type { ResultRecord } from "../runs/result-record.js";
import { type JudgeMaterial, type Scorer, type SplitName, type Task, templateHash } from "../tasks/task.js";
import type { Grouping } from "./groups.js";
import { wilsonInterval } from "../util/statistics.js";

/** One scored example. */
export interface ScoredRow {
  /** Index in the split. */
  readonly index: number;
  /** What was asked. */
  readonly prompt: string;
  /** What the model wrote; scorer `generate` only. */
  readonly output?: string | undefined;
  /** Prompt and output of every turn, where the task has more than one. */
  readonly turns?:
    | readonly {
        /** What was asked in the turn. */
        readonly prompt: string;
        /** What the model wrote. */
        readonly output: string;
      }[]
    | undefined;
  /** What a judge is told beside the answers; tasks without an automatic score only. */
  readonly material?: JudgeMaterial | undefined;
  /** The prompt was longer than the model's context has room for, and lost its start. */
  readonly truncated?: true | undefined;
  /** Log-likelihood (nats) and tokens of each label or choice; not for the scorer `generate`. */
  readonly scores?:
    | readonly {
        /** Of the whole text, nats. */
        readonly logLikelihood: number;
        /** Tokens of the text. */
        readonly tokens: number;
      }[]
    | undefined;
  /** The answer as read; null where none could be. */
  readonly read: string | null;
  /** The right answer. */
  readonly expected: string;
  /** Whether it was given. */
  readonly correct: boolean;
}

/** The score of one task, with all that decided it and every row. */
export interface EvaluationResult {
  /** Name of the task. */
  readonly task: string;
  /** Version of the task; scores of different versions are not comparable. */
  readonly version: number;
  /** The split that the rows are from. */
  readonly split: SplitName;
  /** How answers came about. */
  readonly scorer: Scorer;
  /** Scorer `generate` only. */
  readonly reader?: ReaderName | undefined;
  /** The template that asked. */
  readonly template: string;
  /** The checksum of the template's text. */
  readonly templateHash: string;
  /** One line that names all that decides the score. */
  readonly protocol: string;
  /** Where the rows came from, if that is the hub. */
  readonly source?: HubRecord | undefined;
  /** For `loglik`: the normalised one. Null where there is no automatic score: the answers are to be judged. */
  readonly accuracy: number | null;
  /** By the summed log-likelihood of a choice; scorer `loglik` only. */
  readonly accuracySum?: number | undefined;
  /** By the log-likelihood for each character of a choice; scorer `loglik` only. */
  readonly accuracyNormalized?: number | undefined;
  /** Rows that were answered right. */
  readonly correct: number;
  /** Rows that were scored. */
  readonly total: number;
  /** Rows that have an output and no automatic score. */
  readonly unscored?: number | undefined;
  /** Outputs from which no answer could be read. */
  readonly unparsed: number;
  /** Rows whose prompt lost its start to fit into the model's context; results of older versions have none. */
  readonly truncated?: number | undefined;
  /** Accuracy of a blind guess on these rows. */
  readonly chance: number;
  /** Accuracy of always giving these rows' most frequent answer. */
  readonly majority: number;
  /** Wilson's 95 % interval of the accuracy. */
  readonly interval: readonly [number, number];
  /** The figures by part, such as MMLU's `subjects` and `categories`. */
  readonly groups?: Readonly<Record<string, Grouping>> | undefined;
  /** Time of the scoring, seconds. */
  readonly seconds: number;
  /** Tokens that the model wrote, and how many a second of generation; scorer `generate` only. */
  readonly newTokens?: number | undefined;
  /** Tokens that the model wrote a second of generation; scorer `generate` only. */
  readonly tokensPerSecond?: number | undefined;
  /** What it was made with: model, adapter, seeds, device, dtype, versions, date. */
  readonly record?: ResultRecord | undefined;
  /** Every row: what was asked, answered, read and expected. */
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
  /** The parts that the rows come from, such as `57 subjects`. */
  readonly parts?: string | undefined;
}

const scorerText = ({ scorer, beams, maxNewTokens, reader, task }: Protocol): string => {
  if (scorer === "label") return "label (the label with the highest log-likelihood after the prompt)";
  if (scorer === "loglik")
    return "loglik (the choice with the highest log-likelihood, by character; by sum beside it)";
  const decoding = `generate (${beams === 1 ? "greedy" : `${beams} beams`}, at most ${maxNewTokens} new tokens)`;
  return task.metric === "judged"
    ? `${decoding}, no automatic score: the outputs are to be judged`
    : `${decoding}, ${reader} reader, ${task.metric}`;
};

/** All that decides the score, in one line. */
export const protocolText = (protocol: Protocol): string => {
  const { task, template, split, total, available, chat, parts } = protocol;
  const count = total === available ? `all ${total} ${split} rows` : `first ${total} of ${available} ${split} rows`;
  const rows = parts === undefined ? count : `${count}${total === available ? " of" : ", shared by"} ${parts}`;
  const shots = task.shots?.[template] ?? 0;
  const form = chat ? "chat template" : "plain prompt";
  return [
    `${task.name} v${task.version}`,
    rows,
    `template ${template} (${templateHash(task, template)})`,
    form,
    shots === 0 ? "zero-shot" : `${shots}-shot`,
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
): Pick<EvaluationResult, "correct" | "total" | "unparsed" | "majority" | "interval"> & {
  readonly accuracy: number;
} => {
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
