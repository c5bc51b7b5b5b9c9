import { choiceTask } from "./choice-task.js";
import { arcRows } from "./hub-choices.js";

/** ARC, the easy set: grade-school science questions. */
export const arcEasy = choiceTask({
  name: "arc-easy",
  version: 1,
  license: "CC BY-SA 4.0",
  origin: "ARC (Clark et al., arXiv 1803.05457) in LLM-Adapters' JSON",
  hub: {
    id: "allenai/ai2_arc",
    revision: "210d026faf9955653af8916fad021475a3f00453",
    splits: {
      train: [arcRows({ config: "ARC-Easy", split: "train", file: "arc-easy/train.jsonl" })],
      test: [arcRows({ config: "ARC-Easy", split: "test", file: "arc-easy/test.jsonl" })],
    },
  },
});
