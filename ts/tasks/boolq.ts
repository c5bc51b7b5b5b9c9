import { z } from "zod";
import { filled, readTaskRows, taskFile } from "./data-files.js";
import { instructionRow } from "./hub-choices.js";
import { type HubFiles, hubRows, linesFile } from "./hub-source.js";
import { llmAdaptersHint } from "./llm-adapters-choices.js";
import { checkSplit, type LoadOptions } from "./task.js";
import { withoutQuestionMarks, type YesNoExample, yesNoTask } from "./yes-no-task.js";

const form =
  /^Please answer the following question with true or false, question: (?<question>[^]*\S)\s+Answer format: true\/false\s*$/;

const formText = '"Please answer the following question with true or false, question: … Answer format: true/false"';

const row: z.ZodType<YesNoExample> = z
  .object({
    instruction: z.string({ error: formText }).regex(form, { error: formText }),
    answer: z.enum(["true", "false"], { error: "true or false" }),
  })
  .transform(({ instruction, answer }) => {
    const question = form.exec(instruction)?.groups?.["question"] ?? "";
    return { question: withoutQuestionMarks(question), answer };
  });

const splits = ["train", "test"] as const;

const load = async ({ split, dir }: LoadOptions): Promise<readonly YesNoExample[]> => {
  checkSplit({ name: "boolq", splits }, split);
  return await readTaskRows(
    await taskFile({ task: "boolq", dir, names: [`${split}.json`, `${split}.jsonl`], hint: llmAdaptersHint }),
    row,
  );
};

const instructionOf = (question: string): string =>
  `Please answer the following question with true or false, question: ${withoutQuestionMarks(question)}?\n\n` +
  "Answer format: true/false";

const hubSplit = (hubName: string, file: string): HubFiles =>
  hubRows({
    split: hubName,
    fields: z.object({ question: filled("the question's text"), answer: z.boolean({ error: "true or false" }) }),
    map: ({ question, answer }) => ({ row: instructionRow(instructionOf(question.trim()), String(answer)) }),
    files: linesFile(file),
  });

/** BoolQ without its passages, as the paper asks it: what the model knows, not what it reads. */
export const boolq = yesNoTask({
  name: "boolq",
  version: 1,
  license: "CC BY-SA 3.0",
  origin: "BoolQ (Clark et al., arXiv 1905.10044) in LLM-Adapters' JSON; its test rows are BoolQ's dev rows",
  hub: {
    id: "google/boolq",
    revision: "35b264d03638db9f4ce671b711558bf7ff0f80d5",
    splits: {
      train: [hubSplit("train", "boolq/train.jsonl")],
      test: [hubSplit("validation", "boolq/test.jsonl")],
    },
  },
  splits,
  load,
  passage: false,
});
