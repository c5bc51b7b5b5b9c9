const withoutInput =
  "Below is an instruction that describes a task. Write a response that appropriately completes the request.";
const withInput =
  "Below is an instruction that describes a task, paired with an input that provides further context. " +
  "Write a response that appropriately completes the request.";

/** The Alpaca prompt, which LLM-Adapters uses too: the answer follows "### Response:" and its line break. */
export const alpacaPrompt = (instruction: string, input = ""): string =>
  input.trim() === ""
    ? `${withoutInput}\n\n### Instruction:\n${instruction}\n\n### Response:\n`
    : `${withInput}\n\n### Instruction:\n${instruction}\n\n### Input:\n${input}\n\n### Response:\n`;
