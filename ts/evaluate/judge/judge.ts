import { resolve } from "node:path";
import { MiloraError } from "../../errors.js";
import { mtBench } from "../../tasks/mt-bench.js";
import { writeFileAtomic } from "../../util/files.js";
import { completionsUrl, shownAddress } from "./chat-client.js";
import { type CostEstimate, estimateCost, estimateText, type Spending } from "./cost.js";
import {
  type JudgeOptionsInput,
  type JudgeSettings,
  judgeSettings,
  outputBound,
  readApiKey,
  requestBody,
} from "./options.js";
import { type Judgement, placeKey, planJudgements } from "./plan.js";
import { type JudgeMode, judgeTemplates } from "./prompts.js";
import {
  holdReviewFile,
  openReviewFile,
  type PresentReviews,
  readReviews,
  type Review,
  type ReviewHeader,
} from "./review-file.js";
import { type MadeJudgements, runJudgements } from "./run-judgements.js";
import { type AnsweredResult, readAnsweredResults } from "./saved-results.js";
import { type JudgingSummary, summarizeJudging } from "./summary.js";

/** What a caller of {@link judge} may be told, and how it ends the judging. */
export interface JudgeHooks {
  /** Told the cost before anything is spent; nothing is where it gives false. Without it nobody is asked. */
  readonly confirm?: ((estimate: CostEstimate) => boolean | Promise<boolean>) | undefined;
  /** Judgements made in this call, and those of them that are missing. */
  readonly onProgress?: ((done: number, total: number, missing: number) => void) | undefined;
  /** An abort ends the judging; what was judged is kept and not asked for again. */
  readonly signal?: AbortSignal | undefined;
}

/** Ratings of saved answers by a judge, with all that decides them. */
export interface Judging extends JudgingSummary {
  /** The task whose answers were rated: `mt-bench`. */
  readonly task: string;
  /** One answer at a time, or every two methods in both orders. */
  readonly mode: JudgeMode;
  /** The name of the judge at the endpoint. */
  readonly judgeModel: string;
  /** The models that answered, as the endpoint names them. */
  readonly answeredBy: readonly string[];
  /** Without its query. */
  readonly endpoint: string;
  /** Judgements of the same answers. */
  readonly judgements: number;
  /** Fields of each request beside its messages. */
  readonly request: Readonly<Record<string, unknown>>;
  /** The checksum of `templates`. */
  readonly templateHash: string;
  /** The prompts with their placeholders. */
  readonly templates: Readonly<Record<string, string>>;
  /** One line that names all that decides the ratings. */
  readonly protocol: string;
  /** What was judged: label, file, protocol and checksum of each. */
  readonly results: readonly Pick<AnsweredResult, "label" | "file" | "protocol" | "hash">[];
  /** What was asked. */
  readonly questions: {
    /** Questions that have right answers. */
    readonly referenced: number;
    /** All questions. */
    readonly total: number;
  };
  /** What this call cost; judgements that the file held already cost nothing. */
  readonly spent: Spending;
  /** The file of every review, raw; a JSON object a line. */
  readonly reviewsFile: string;
  /** Every review, as it came. */
  readonly reviews: readonly Review[];
}

const protocolOf = (settings: JudgeSettings, header: ReviewHeader, questions: Judging["questions"]): string => {
  const { mode, judgements, judgeModel } = settings;
  const { temperature } = header.request;
  return [
    mtBench.name,
    mode === "single" ? "single-answer grading, 1 to 10" : "pairwise, both orders, 1 to 10 each",
    `judge ${judgeModel}`,
    temperature === undefined ? "the endpoint's own temperature" : `temperature ${JSON.stringify(temperature)}`,
    judgements === 1 ? "one judgement each" : `${judgements} judgements each`,
    `prompts ${header.templateHash}`,
    `correct answers shown for ${questions.referenced} of ${questions.total} questions`,
  ].join("; ");
};

const headerOf = (settings: JudgeSettings, results: readonly AnsweredResult[], hash: string): ReviewHeader => ({
  format: 1,
  task: mtBench.name,
  mode: settings.mode,
  judgeModel: settings.judgeModel,
  request: requestBody(settings),
  templateHash: hash,
  results: results.map(({ label, hash: answers }) => ({ label, hash: answers })),
});

const questionsOf = (results: readonly AnsweredResult[]): Judging["questions"] => {
  const all = results.flatMap(({ questions }) => questions);
  const referenced = all.filter(({ references }) => references.length > 0);
  const count = (questions: typeof all): number => new Set(questions.map(({ question }) => question)).size;
  return { referenced: count(referenced), total: count(all) };
};

const nothing: MadeJudgements = {
  reviews: new Map(),
  failures: new Map(),
  spent: { requests: 0, inputTokens: 0, outputTokens: 0, money: null },
};

/** Makes the judgements that the file doesn't hold, once they are confirmed. */
const makeJudgements = async (options: {
  readonly settings: JudgeSettings;
  readonly url: URL;
  readonly header: ReviewHeader;
  readonly planned: readonly Judgement[];
  readonly reviewsFile: string;
  readonly present: PresentReviews;
  readonly hooks: JudgeHooks;
}): Promise<MadeJudgements> => {
  const { settings, url, header, planned, reviewsFile, present, hooks } = options;
  const pending = planned.filter((judgement) => !present.reviews.has(placeKey(judgement)));
  if (pending.length === 0) return nothing;
  const apiKey = readApiKey(settings.apiKeyEnv);
  const mostTokens = outputBound(header.request);
  const estimate = estimateCost(pending, mostTokens, settings);
  const agreed = (await hooks.confirm?.(estimate)) ?? true;
  if (!agreed) throw new MiloraError("cancelled", `Nothing was asked of the judge: ${estimateText(estimate)}.`);
  const { retries, timeout, firstWait, longestWait } = settings;
  const file = openReviewFile(reviewsFile, header, present);
  try {
    return await runJudgements({
      judgements: pending,
      client: {
        url,
        apiKey,
        body: header.request,
        retries,
        timeoutMs: timeout * 1000,
        firstWaitMs: firstWait * 1000,
        longestWaitMs: longestWait * 1000,
      },
      file,
      concurrency: settings.concurrency,
      mostTokens,
      prices: settings,
      budget: settings.budget,
      signal: hooks.signal ?? new AbortController().signal,
      onProgress: (done, missing) => hooks.onProgress?.(done, pending.length, missing),
    });
  } finally {
    file.close();
  }
};

/** Judgements of answers, and the file that holds their reviews. */
interface PlannedJudging {
  readonly settings: JudgeSettings;
  readonly url: URL;
  readonly results: readonly AnsweredResult[];
  readonly planned: readonly Judgement[];
  readonly reviewsFile: string;
}

/** Judges what the file, which is held, doesn't hold yet, and writes the figures of all beside it. */
const judgePlanned = async (judging: PlannedJudging, hooks: JudgeHooks): Promise<Judging> => {
  const { settings, url, results, planned, reviewsFile } = judging;
  const { mode, judgeModel, judgements } = settings;
  const templates = judgeTemplates(mode, Math.max(...planned.map(({ turn }) => turn)));
  const header = headerOf(settings, results, templates.hash);
  const present = readReviews(reviewsFile, header);
  const made = await makeJudgements({ ...judging, header, present, hooks });
  const reviews = new Map([...present.reviews, ...made.reviews]);
  const questions = questionsOf(results);
  const figures = {
    task: mtBench.name,
    mode,
    judgeModel,
    answeredBy: [...new Set([...reviews.values()].flatMap(({ model }) => (model === null ? [] : [model])))],
    endpoint: shownAddress(url),
    judgements,
    request: header.request,
    templateHash: templates.hash,
    templates: templates.texts,
    protocol: protocolOf(settings, header, questions),
    results: results.map(({ label, file, protocol, hash }) => ({ label, file, protocol, hash })),
    questions,
    ...summarizeJudging({
      mode,
      labels: results.map(({ label }) => label),
      planned,
      reviews,
      failures: made.failures,
    }),
    spent: made.spent,
    reviewsFile,
  };
  await writeFileAtomic(`${reviewsFile.replace(/\.jsonl$/i, "")}.json`, `${JSON.stringify(figures, null, 2)}\n`);
  return { ...figures, reviews: planned.flatMap((place) => reviews.get(placeKey(place)) ?? []) };
};

/**
 * Has saved answers of MT-Bench judged by a model behind an OpenAI-compatible endpoint. Each review is written as it
 * comes; a call that is repeated asks only for what is missing, and writes its figures beside the reviews.
 * Errors: `input/*`, `data/bad-row` (options, results); `run/exists` (another process judges into the same file);
 * `run/not-resumable` (the file holds other reviews); `cancelled`; `judge/unusable` (no judge at this address, or it
 * refuses the key); `judge/unreachable`; `run/disk`.
 */
export const judge = async (options: JudgeOptionsInput, hooks: JudgeHooks = {}): Promise<Judging> => {
  const settings = judgeSettings(options);
  const url = completionsUrl(settings.endpoint);
  const results = await readAnsweredResults(settings.results);
  const planned = planJudgements(settings.mode, results, settings.judgements);
  const reviewsFile = resolve(settings.out ?? `${results[0]?.judgings ?? mtBench.name}-${settings.mode}.jsonl`);
  const release = holdReviewFile(reviewsFile);
  try {
    return await judgePlanned({ settings, url, results, planned, reviewsFile }, hooks);
  } finally {
    release();
  }
};
