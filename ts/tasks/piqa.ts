import { choiceTask } from "./choice-task.js";

/** PIQA: which of two ways reaches a practical goal. */
export const piqa = choiceTask({
  name: "piqa",
  version: 1,
  license: "AFL-3.0",
  origin: "PIQA (Bisk et al., arXiv 1911.11641) in LLM-Adapters' JSON; its test rows are PIQA's validation rows",
  word: "solution",
  chance: 0.5,
});
