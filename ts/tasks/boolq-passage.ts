import { z } from "zod";
import { MiloraError } from "../errors.js";
import { filled, readTaskRows, rowByFields, taskFile } from "./data-files.js";
import { type HubFiles, hubRows, linesFile } from "./hub-source.js";
import { checkSplit, type LoadOptions } from "./task.js";
import { withoutQuestionMarks, type YesNoExample, yesNoTask } from "./yes-no-task.js";

const hint =
  'Take BoolQ\'s own train.jsonl and dev.jsonl, lines of {"question", "passage", "answer"} ' +
  "(https://github.com/google-research-datasets/boolean-questions), into the folder boolq-passage.";

/** BoolQ's own line; its public test rows are those of dev.jsonl. */
const ownRow = z
  .object({
    question: filled("the question's text"),
    passage: filled("the passage's text"),
    answer: z.union([z.boolean(), z.enum(["true", "false"])], { error: "true or false" }),
  })
  .transform(({ question, passage, answer }): YesNoExample => ({
    question: withoutQuestionMarks(question.trim()),
    passage: passage.trim(),
    answer: String(answer) === "true" ? "true" : "false",
  }));

/** LLM-Adapters' rows, which have no passage. */
const bareRow = z.looseObject({}).transform(() => null);

const row = rowByFields<YesNoExample | null>((value) => ("instruction" in value ? bareRow : ownRow));

const isWhole = (row: YesNoExample | null): row is YesNoExample => row !== null;

const names = {
  train: ["train.jsonl", "train.json"],
  test: ["test.jsonl", "dev.jsonl", "test.json"],
  dev: [],
} as const;

const splits = ["train", "test"] as const;

const load = async ({ split, dir }: LoadOptions): Promise<readonly YesNoExample[]> => {
  checkSplit({ name: "boolq-passage", splits }, split);
  const folders = ["boolq-passage", "boolq"];
  const file = await taskFile({ task: "boolq-passage", dir, folders, names: names[split], hint });
  const rows = await readTaskRows(file, row);
  const whole = rows.filter(isWhole);
  if (whole.length === rows.length) return whole;
  throw new MiloraError(
    "input/missing-file",
    `The rows of ${file} have no passage; boolq-passage needs one in each.`,
    {
      file,
      found: 'LLM-Adapters\' rows: {"instruction", "output", "answer"}',
      allowed: '{"question", "passage", "answer": true or false}, one a line',
      hint,
    },
  );
};

const hubSplit = (split: string, file: string): HubFiles =>
  hubRows({
    split,
    fields: z.object({
      question: filled("the question's text"),
      passage: filled("the passage's text"),
      answer: z.boolean({ error: "true or false" }),
    }),
    map: (of) => ({ row: of }),
    files: linesFile(file),
  });

/** BoolQ with its passages: reading comprehension, in lm-evaluation-harness's form. */
export const boolqPassage = yesNoTask({
  name: "boolq-passage",
  version: 1,
  license: "CC BY-SA 3.0",
  origin: "BoolQ (Clark et al., arXiv 1905.10044) in its own JSON lines; its test rows are BoolQ's dev rows",
  hub: {
    id: "google/boolq",
    revision: "35b264d03638db9f4ce671b711558bf7ff0f80d5",
    splits: {
      train: [hubSplit("train", "boolq-passage/train.jsonl")],
      test: [hubSplit("validation", "boolq-passage/test.jsonl")],
    },
  },
  splits,
  load,
  passage: true,
});
