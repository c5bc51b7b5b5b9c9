import { choiceTask } from "./choice-task.js";

/** OpenBookQA: elementary science with common knowledge. */
export const openBookQa = choiceTask({
  name: "openbookqa",
  version: 1,
  license: "Apache-2.0",
  origin: "OpenBookQA (Mihaylov et al., arXiv 1809.02789) in LLM-Adapters' JSON",
});
