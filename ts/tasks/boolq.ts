import { z } from "zod";
import { readTaskRows, taskFile } from "./data-files.js";
import { llmAdaptersHint } from "./llm-adapters-choices.js";
import { checkSplit, type LoadOptions } from "./task.js";
import { type YesNoExample, yesNoTask } from "./yes-no-task.js";

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
    return { question: question.replace(/\s*\?+$/, ""), answer };
  });

const splits = ["train", "test"] as const;

const load = async ({ split, dir }: LoadOptions): Promise<readonly YesNoExample[]> => {
  checkSplit({ name: "boolq", splits }, split);
  return await readTaskRows(
    await taskFile({ task: "boolq", dir, names: [`${split}.json`], hint: llmAdaptersHint }),
    row,
  );
};

/** BoolQ without its passages, as the paper asks it: what the model knows, not what it reads. */
export const boolq = yesNoTask({
  name: "boolq",
  version: 1,
  license: "CC BY-SA 3.0",
  origin: "BoolQ (Clark et al., arXiv 1905.10044) in LLM-Adapters' JSON; its test rows are BoolQ's dev rows",
  splits,
  load,
  passage: false,
});
