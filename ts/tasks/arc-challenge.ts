import { choiceTask } from "./choice-task.js";
import { arcRows } from "./hub-choices.js";

/** ARC, the challenge set: questions that retrieval and co-occurrence both miss. */
export const arcChallenge = choiceTask({
  name: "arc-challenge",
  version: 1,
  license: "CC BY-SA 4.0",
  origin: "ARC (Clark et al., arXiv 1803.05457) in LLM-Adapters' JSON",
  hub: {
    id: "allenai/ai2_arc",
    revision: "210d026faf9955653af8916fad021475a3f00453",
    splits: {
      train: [arcRows({ config: "ARC-Challenge", split: "train", file: "arc-challenge/train.jsonl" })],
      test: [arcRows({ config: "ARC-Challenge", split: "test", file: "arc-challenge/test.jsonl" })],
    },
  },
});
