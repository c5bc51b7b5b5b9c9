import { z } from "zod";
import { alpacaPrompt } from "../data/alpaca-prompt.js";
import { filled, readTaskRows, taskFile } from "./data-files.js";
import { type HubFiles, hubRows, linesFile } from "./hub-source.js";
import { checkSplit, type LoadOptions, type Rendered, type Task } from "./task.js";

export interface AlpacaExample {
  readonly instruction: string;
  readonly input: string;
  readonly output: string;
}

/** The names that its releases have: Stanford's, the cleaned one, LLaMA-Factory's samples. */
const names = [
  "train.json",
  "train.jsonl",
  "alpaca_data.json",
  "alpaca_data_cleaned.json",
  "alpaca_en_demo.json",
  "alpaca_en_1k.json",
];
const hint = "Take alpaca_data.json of https://github.com/tatsu-lab/stanford_alpaca into the folder alpaca.";

const row = z.object({
  instruction: filled("the instruction's text"),
  input: z.string({ error: "text" }).default(""),
  output: filled("the answer's text"),
});

const hubTrain: HubFiles = hubRows({
  split: "train",
  fields: z.object({ instruction: filled("the instruction's text"), input: z.string(), output: z.string() }),
  // A few of Stanford's rows have no answer to learn.
  map: (of) => ({ row: of.output.trim() === "" ? null : of }),
  files: linesFile("alpaca/train.jsonl"),
});

const load = async ({ split, dir }: LoadOptions): Promise<readonly AlpacaExample[]> => {
  checkSplit(alpaca, split);
  return await readTaskRows(await taskFile({ task: "alpaca", dir, names, hint }), row);
};

const render = ({ instruction, input, output }: AlpacaExample): Rendered => ({
  prompt: alpacaPrompt(instruction, input),
  answer: output,
});

/** Alpaca: instructions to tune on. It has no score of its own; MT-Bench, MMLU and BBH measure what it taught. */
export const alpaca: Task<AlpacaExample> = {
  name: "alpaca",
  version: 1,
  license: "CC BY-NC 4.0 (Stanford's rows), Apache-2.0 (LLaMA-Factory's)",
  origin: "Alpaca (Taori et al., 2023) in its own JSON",
  hub: {
    id: "tatsu-lab/alpaca",
    revision: "dce01c9b08f87459cf36a430d809084718273017",
    splits: { train: [hubTrain] },
  },
  templates: ["alpaca"],
  splits: ["train"],
  scorers: [],
  chance: 0,
  labels: [],
  metric: "judged",
  maxNewTokens: 512,
  load,
  render,
  read: () => ({ answer: null }),
  readOutput: () => ({ answer: null }),
  correct: ({ output }) => output,
  templateSource: () => JSON.stringify(render({ instruction: "{instruction}", input: "{input}", output: "{output}" })),
};
