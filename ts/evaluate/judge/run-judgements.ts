import { MiloraError } from "../../errors.js";
import type { FailureReason } from "./chat-answer.js";
import { type ChatClientOptions, createChatClient, type Outcome } from "./chat-client.js";
import { type Cost, createLedger, estimatedTokens, type Prices, type Spending } from "./cost.js";
import { type Judgement, type JudgementPlace, placeKey } from "./plan.js";
import type { FailedJudgement, Review, ReviewFile } from "./review-file.js";

export interface RunJudgementsOptions {
  readonly judgements: readonly Judgement[];
  readonly client: Omit<ChatClientOptions, "signal">;
  readonly file: ReviewFile;
  /** Requests under way at once. */
  readonly concurrency: number;
  /** The most tokens of an answer. */
  readonly mostTokens: number;
  readonly prices: Prices;
  readonly budget: number | undefined;
  readonly signal: AbortSignal;
  readonly onProgress: (done: number, missing: number) => void;
}

/** What came of the judgements, by their place. */
export interface MadeJudgements {
  readonly reviews: ReadonlyMap<string, Review>;
  readonly failures: ReadonlyMap<string, FailedJudgement>;
  readonly spent: Spending;
}

/** Faults of the address or the key: every other request would come to the same. */
const hopeless: ReadonlySet<FailureReason> = new Set<FailureReason>(["refused", "not-found"]);
/** So many failures and not one answer: the endpoint does not work. */
const failuresWithoutAnswer = 8;

const faultOf = (answered: number, failed: number, { failure }: FailedJudgement): MiloraError | undefined => {
  const { reason, detail } = failure;
  if (hopeless.has(reason) || (answered === 0 && reason === "no-chat-answer")) {
    return new MiloraError("judge/unusable", detail, {
      path: "endpoint",
      found: reason,
      allowed: "an OpenAI-compatible endpoint that has this model and accepts the key",
      hint: "Check the endpoint's address (it usually ends in /v1), the judge's name and the key.",
    });
  }
  if (answered > 0 || (reason !== "no-connection" && failed < failuresWithoutAnswer)) return undefined;
  const count = failed === 1 ? "" : `None of ${failed} judgements could be made. The last: `;
  return new MiloraError("judge/unreachable", `${count}${detail}`, { path: "endpoint", found: reason });
};

const placeOf = ({ prompt: _prompt, referenced: _referenced, ...place }: Judgement): JudgementPlace => place;

/** What a judgement cost: as the endpoint counts it, or the worst; what may have been charged in vain counts too. */
const costOf = (worst: Cost, outcome: Outcome): Cost => {
  const { attempts, unanswered } = outcome;
  const usage = "answer" in outcome ? outcome.answer.usage : { input: 0, output: 0 };
  return {
    requests: attempts,
    inputTokens: (usage?.input ?? worst.inputTokens) + unanswered * worst.inputTokens,
    outputTokens: (usage?.output ?? worst.outputTokens) + unanswered * worst.outputTokens,
  };
};

/** Makes judgements of a queue that all workers share. */
const createWork = (options: RunJudgementsOptions, signal: AbortSignal) => {
  const { file, prices, mostTokens, judgements, onProgress } = options;
  const client = createChatClient({ ...options.client, signal });
  const ledger = createLedger(prices, options.budget);
  const reviews = new Map<string, Review>();
  const failures = new Map<string, FailedJudgement>();
  const tell = (): void => onProgress(reviews.size + failures.size, failures.size);

  const keep = (judgement: Judgement, outcome: Outcome): void => {
    const place = placeOf(judgement);
    if ("failure" in outcome) {
      const failed = { ...place, failure: outcome.failure };
      file.failed(failed);
      failures.set(placeKey(place), failed);
      const fault = faultOf(reviews.size, failures.size, failed);
      if (fault !== undefined) throw fault;
      return;
    }
    const { referenced } = judgement;
    const { attempts, seconds, answer } = outcome;
    const { text: reply, ...said } = answer;
    const review = { ...place, referenced, reply, ...said, attempts, seconds };
    file.review(review);
    reviews.set(placeKey(place), review);
  };
  const judgeOne = async (judgement: Judgement): Promise<void> => {
    const worst = { requests: 1, inputTokens: estimatedTokens(judgement.prompt), outputTokens: mostTokens };
    const account = ledger.open(worst);
    if (account.reserve()) {
      const outcome = await client.ask(judgement.prompt, account.reserve);
      account.settle(costOf(worst, outcome));
      keep(judgement, outcome);
    } else {
      const place = placeOf(judgement);
      const failure = { reason: "over-budget", detail: "The budget has no room for this judgement." } as const;
      failures.set(placeKey(place), { ...place, failure });
    }
    tell();
  };
  const queue = [...judgements];
  return {
    /** Takes judgements from the queue, `most` at most. */
    work: async (most: number): Promise<void> => {
      for (let count = 0; count < most && !signal.aborted; count += 1) {
        const next = queue.shift();
        if (next === undefined) return;
        await judgeOne(next);
      }
    },
    made: (): MadeJudgements => ({ reviews, failures, spent: ledger.spent() }),
  };
};

/**
 * Asks for judgements, several at once, and writes each to the file as it comes. The first goes alone: where it shows
 * that the endpoint is none, no other is sent. Errors: `cancelled`; `judge/unusable` (no judge at this address, or it
 * refuses the key); `judge/unreachable`; `run/disk`. What was judged before an error is in the file.
 */
export const runJudgements = async (options: RunJudgementsOptions): Promise<MadeJudgements> => {
  const { signal, concurrency, judgements } = options;
  const stopping = new AbortController();
  const { work, made } = createWork(options, AbortSignal.any([signal, stopping.signal]));
  const faults: unknown[] = [];
  const guarded = async (most: number): Promise<void> => {
    try {
      await work(most);
    } catch (error) {
      // The others end with errors of this abort; the first is the reason.
      faults.push(error);
      stopping.abort();
    }
  };
  await guarded(1);
  await Promise.all(Array.from({ length: concurrency }, () => guarded(judgements.length)));
  if (signal.aborted) {
    const count = `${made().reviews.size} of ${judgements.length} judgements were made`;
    throw new MiloraError("cancelled", `The judging was stopped; ${count} and are kept.`, {
      hint: "The same call goes on from there.",
    });
  }
  const [fault] = faults;
  if (fault instanceof Error) throw fault;
  if (fault !== undefined) throw new MiloraError("internal", "A judgement failed without an error.", { cause: fault });
  return made();
};
