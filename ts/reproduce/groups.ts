import type { z } from "zod";
import type { sweepSchema } from "../spec/sweep.js";

/** A sweep as a person would write it. */
export type SweepInput = z.input<typeof sweepSchema>;
type GroupInput = SweepInput["groups"][number];

export type Scale = "paper" | "small";

/** How large the small scale is. */
export interface SmallSize {
  /** Training rows: of one task, or of all of a mix. */
  readonly rows: number;
  /** The first rows of a task's test set that are scored. */
  readonly testRows: number;
  /** Seeds from 0 on, where a target has more than one. */
  readonly seeds: number;
}

export const smallSize: SmallSize = { rows: 800, testRows: 400, seeds: 3 };

/** Where a target is reproduced: the model, the folder of the data, and how large. */
export interface Setting {
  readonly model: string;
  /** Folder that holds one folder a task; without it all rows are fetched from the hub. */
  readonly dir: string | undefined;
  readonly scale: Scale;
  /** Of the small scale. */
  readonly small: SmallSize;
}

/** What a group of runs is made of. */
export interface GroupParts {
  readonly name: string;
  /** What is trained on; several tasks are one mix. */
  readonly train: readonly string[];
  /** What is scored; by its dev perplexity where there is nothing. */
  readonly evaluate: readonly string[];
}

/** LLM-Adapters' form of the choice tasks (the paper prints no template); a rationale where the answer is a number. */
const paperTemplates: Readonly<Record<string, string>> = { aqua: "rationale", gsm8k: "rationale", alpaca: "alpaca" };
const paperTemplate = (task: string): string => paperTemplates[task] ?? "choice-label";

/** Rows of one task, or a share of a mix of so many. */
const source = ({ dir, scale, small }: Setting, task: string, of: number) => {
  const place = { task, ...(dir === undefined ? {} : { dir }) };
  return scale === "paper"
    ? { ...place, template: paperTemplate(task) }
    : {
        ...place,
        template: task === "alpaca" ? "alpaca" : "choice-text",
        limit: Math.round(small.rows / of),
        dev: { split: 0.05 },
      };
};

const dataOf = (setting: Setting, tasks: readonly string[]) => {
  const sources = tasks.map((task) => source(setting, task, tasks.length));
  const [first] = sources;
  return sources.length === 1 && first !== undefined ? first : { mix: sources };
};

/** Tasks that are only scored have a form of their own. */
const isChoice = (task: string): boolean => !["mmlu", "bbh", "mt-bench", "gsm8k", "aqua"].includes(task);

const evaluationOf = ({ scale, small }: Setting, tasks: readonly string[]): GroupInput["evaluate"] => {
  const choices = tasks.every(isChoice);
  if (scale === "small")
    return choices
      ? { tasks: [...tasks], template: "choice-text", scorer: "loglik", limit: small.testRows }
      : { tasks: [...tasks], limit: 40, maxNewTokens: 128 };
  const [first = ""] = tasks;
  const template = choices ? "choice-label" : paperTemplates[first];
  return { tasks: [...tasks], beams: 3, ...(template === undefined ? {} : { template }) };
};

/** A group of a target's sweep: what it is trained on, and how it is scored. */
export const groupOf = (setting: Setting, { name, train, evaluate }: GroupParts): GroupInput => ({
  name,
  spec: { data: dataOf(setting, train) },
  ...(evaluate.length === 0 ? {} : { evaluate: evaluationOf(setting, evaluate) }),
});

/**
 * What all runs of a target share. The paper's settings are the defaults of the spec (docs/reproduce.md lists them), so
 * there is nothing to say of them.
 */
export const sharedSpec = ({ scale }: Setting): NonNullable<SweepInput["spec"]> =>
  scale === "paper"
    ? {}
    : {
        train: {
          epochs: 1,
          batchSize: 16,
          activationEvery: 10,
          evalEvery: 1000,
          checkpointEvery: 1000,
          dtype: "auto",
          maxLength: 256,
        },
      };

const paperSeeds = 5;

/** Seeds from 0 on. */
export const seedsOf = ({ scale, small }: Setting): number[] =>
  Array.from({ length: scale === "paper" ? paperSeeds : small.seeds }, (_, seed) => seed);
