import type { SmallSize } from "./groups.js";

/** What is not as in the paper whatever the target; a sentence each. */
export const commonDifferences: readonly string[] = [
  "The paper prints no templates and no scoring rule: choice tasks are asked in LLM-Adapters' form and the stated answer is read (docs/evaluation.md).",
  "BoolQ is asked without its passage, which the paper's 61 to 73 % suggest. BoolQ and GSM8K have no dev set: one is split off the training rows, by seed.",
  "PIQA's public labels are the 1,838 of its validation set, not the paper's 3,000.",
  "Where the paper is silent (gates, the router's input, how often Θ steps), the choices of docs/decisions hold.",
];

/** What else is not as in the paper at small scale. */
export const smallDifferences = ({ rows, testRows, seeds }: SmallSize): readonly string[] => [
  `Small scale: ${rows} training rows, one epoch of 16 rows a step, rank 8 or the same budget for every method, ${seeds === 1 ? "one seed" : `${seeds} seeds or one`}, learning rates of one try a method instead of 1e-4, base model in bfloat16 or (on a CPU that has no products for it) float32, rows of at most 256 tokens, a Θ step after every tenth Ω step.`,
  `Small scale: choice tasks are scored by the likelihood of the choice's text over the first ${testRows} test rows, not by what is generated with three beams; chat answers over the first 40 rows, greedily, with at most 128 new tokens.`,
];
