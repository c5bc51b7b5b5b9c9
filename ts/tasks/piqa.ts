import { z } from "zod";
import { choiceTask } from "./choice-task.js";
import { filled } from "./data-files.js";
import { choiceRow } from "./hub-choices.js";
import { type HubFiles, hubRows, linesFile } from "./hub-source.js";

const hubSplit = (split: string, file: string): HubFiles =>
  hubRows({
    split,
    fields: z.object({
      goal: filled("the goal's text"),
      sol1: filled("a solution's text"),
      sol2: filled("a solution's text"),
      label: z.union([z.literal(0), z.literal(1)], { error: "0 or 1" }),
    }),
    map: ({ goal: question, sol1, sol2, label: answer }) => ({
      row: choiceRow({ word: "solution", question, choices: [sol1, sol2], answer }),
    }),
    files: linesFile(file),
  });

/** PIQA: which of two ways reaches a practical goal. */
export const piqa = choiceTask({
  name: "piqa",
  version: 1,
  license: "AFL-3.0",
  origin: "PIQA (Bisk et al., arXiv 1911.11641) in LLM-Adapters' JSON; its test rows are PIQA's validation rows",
  hub: {
    // PIQA's own data set needs a loading script; this is lm-evaluation-harness's copy of it.
    id: "baber/piqa",
    revision: "142f6d7367fd9877f0fb3b5734ea6a545f54cdd1",
    splits: {
      train: [hubSplit("train", "piqa/train.jsonl")],
      test: [hubSplit("validation", "piqa/test.jsonl")],
    },
  },
  word: "solution",
  chance: 0.5,
});
