import { choiceTask } from "./choice-task.js";

/** ARC, the challenge set: questions that retrieval and co-occurrence both miss. */
export const arcChallenge = choiceTask({
  name: "arc-challenge",
  version: 1,
  license: "CC BY-SA 4.0",
  origin: "ARC (Clark et al., arXiv 1803.05457) in LLM-Adapters' JSON",
});
