import type { OpOutput } from "../backend/backend.js";

/** What the dev set says: perplexity, and how the routers spread its prompts. */
export interface DevLoss {
  /** exp of the mean negative log-likelihood of an answer token. */
  readonly perplexity: number;
  /** Balance loss over the prompts; null without routers. */
  readonly balance: number | null;
  /** Share of each expert as the most probable one; null without routers. */
  readonly argmaxShare: Readonly<Record<string, number>> | null;
}

const argmaxShare = (routing: OpOutput<"dataLoss">["routing"]): DevLoss["argmaxShare"] => {
  if (routing === null) return null;
  const totals = routing.experts.map((_, expert) =>
    routing.argmax.reduce((total, layer) => total + (layer[expert] ?? 0), 0),
  );
  const all = totals.reduce((total, value) => total + value, 0);
  return Object.fromEntries(routing.experts.map((name, expert) => [name, (totals[expert] ?? 0) / all]));
};

/** The sums over a whole dev set as the figures that are told: exp(Σ nll / Σ answer tokens), the routers' balance. */
export const devLossOf = ({ nll, answerTokens, routing }: OpOutput<"dataLoss">): DevLoss => ({
  perplexity: Math.exp(nll / answerTokens),
  balance: routing?.balance ?? null,
  argmaxShare: argmaxShare(routing),
});
