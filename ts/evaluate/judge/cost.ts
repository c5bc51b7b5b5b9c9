import type { Judgement } from "./plan.js";

/** What tokens cost. */
export interface Prices {
  /** Prices of a million tokens, in any one currency. */
  readonly priceIn?: number | undefined;
  /** Of a million output tokens. */
  readonly priceOut?: number | undefined;
}

/** What judgements will cost, before any is asked for. */
export interface CostEstimate {
  /** Judgements to be asked for; one a request. */
  readonly requests: number;
  /** About; retries are not counted. */
  readonly inputTokens: number;
  /** At most. */
  readonly outputTokens: number;
  /** At most, in the prices' currency; null without prices. */
  readonly money: number | null;
}

/** What judgements did cost, as the endpoint counted it. */
export interface Spending {
  /** Requests that were sent, those of further attempts too. */
  readonly requests: number;
  /** Tokens of their prompts. */
  readonly inputTokens: number;
  /** Tokens of the replies. */
  readonly outputTokens: number;
  /** In the prices' currency; null without prices. */
  readonly money: number | null;
}

const bytesPerToken = 4;
/** Of a message's frame. */
const tokensPerMessage = 8;

/** About how many tokens a prompt has: English text has some four bytes a token. */
export const estimatedTokens = (prompt: string): number =>
  Math.ceil(Buffer.byteLength(prompt) / bytesPerToken) + tokensPerMessage;

/** The price of tokens; null without both prices. */
export const moneyOf = ({ priceIn, priceOut }: Prices, input: number, output: number): number | null =>
  priceIn === undefined || priceOut === undefined ? null : (input * priceIn + output * priceOut) / 1e6;

export const estimateCost = (judgements: readonly Judgement[], mostTokens: number, prices: Prices): CostEstimate => {
  const inputTokens = judgements.reduce((total, { prompt }) => total + estimatedTokens(prompt), 0);
  const outputTokens = judgements.length * mostTokens;
  return {
    requests: judgements.length,
    inputTokens,
    outputTokens,
    money: moneyOf(prices, inputTokens, outputTokens),
  };
};

/** The estimate in one line. */
export const estimateText = ({ requests, inputTokens, outputTokens, money }: CostEstimate): string =>
  `${requests} requests, about ${inputTokens} input tokens, at most ${outputTokens} output tokens` +
  (money === null ? "; no prices given" : `, at most ${money.toFixed(money < 1 ? 4 : 2)} in the prices' currency`);

/** What one judgement cost. */
export interface Cost {
  readonly requests: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
}

/** What one judgement may spend. */
export interface Account {
  /** Whether a request's worst cost fits beside what was spent and what is under way; it is then set aside. */
  readonly reserve: () => boolean;
  /** Turns all that was set aside into what it cost. */
  readonly settle: (cost: Cost) => void;
}

/** Holds spending under a budget: a request is sent only where the worst that it may cost still fits. */
export interface Ledger {
  /** An account for requests that cost so much at worst, each. */
  readonly open: (worst: Cost) => Account;
  readonly spent: () => Spending;
}

export const createLedger = (prices: Prices, budget = Number.POSITIVE_INFINITY): Ledger => {
  const priced = ({ inputTokens, outputTokens }: Cost): number => moneyOf(prices, inputTokens, outputTokens) ?? 0;
  let reserved = 0;
  let spent: Cost = { requests: 0, inputTokens: 0, outputTokens: 0 };
  return {
    open: (worst) => {
      const price = priced(worst);
      let own = 0;
      return {
        reserve: () => {
          if (priced(spent) + reserved + price > budget) return false;
          reserved += price;
          own += price;
          return true;
        },
        settle: (cost) => {
          reserved -= own;
          own = 0;
          spent = {
            requests: spent.requests + cost.requests,
            inputTokens: spent.inputTokens + cost.inputTokens,
            outputTokens: spent.outputTokens + cost.outputTokens,
          };
        },
      };
    },
    spent: () => ({ ...spent, money: moneyOf(prices, spent.inputTokens, spent.outputTokens) }),
  };
};
