import { choiceTask } from "./choice-task.js";
import { openBookRows } from "./hub-choices.js";

/** OpenBookQA: elementary science with common knowledge. */
export const openBookQa = choiceTask({
  name: "openbookqa",
  version: 1,
  license: "Apache-2.0",
  origin: "OpenBookQA (Mihaylov et al., arXiv 1809.02789) in LLM-Adapters' JSON",
  hub: {
    id: "allenai/openbookqa",
    revision: "388097ea7776314e93a529163e0fea805b8a6454",
    splits: {
      train: [openBookRows({ config: "main", split: "train", file: "openbookqa/train.jsonl" })],
      test: [openBookRows({ config: "main", split: "test", file: "openbookqa/test.jsonl" })],
    },
  },
});
