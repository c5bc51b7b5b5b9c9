import { MiloraError } from "../errors.js";
import type { ModelGraph } from "../graph/model-graph.js";

/**
 * Refuses soft tokens that leave no room for a prompt, where the model says how long its context is.
 * @throws MiloraError `input/invalid-spec`.
 */
export const checkSoftTokens = ({ contextLength }: ModelGraph, tokens: number): void => {
  if (contextLength === null || tokens < contextLength) return;
  throw new MiloraError(
    "input/invalid-spec",
    `method.tokens: found ${tokens}, but the model's context has room for ${contextLength} tokens, prompt and answer included; allowed: 1 to ${contextLength - 1}.`,
    { path: "method.tokens", found: String(tokens), allowed: `1 to ${contextLength - 1}` },
  );
};
