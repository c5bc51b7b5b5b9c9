import { choiceTask } from "./choice-task.js";

/** ARC, the easy set: grade-school science questions. */
export const arcEasy = choiceTask({
  name: "arc-easy",
  version: 1,
  license: "CC BY-SA 4.0",
  origin: "ARC (Clark et al., arXiv 1803.05457) in LLM-Adapters' JSON",
});
