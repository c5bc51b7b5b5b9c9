import { z } from "zod";
import type { Redaction } from "./redaction.js";
import { oneLine } from "../../util/text.js";

/** What a judge wrote, as the endpoint gave it. */
export interface ChatAnswer {
  readonly text: string;
  /** Why it ended, such as `stop` or `length`; null where the endpoint doesn't say. */
  readonly finish: string | null;
  /** The model that answered, as the endpoint names it. */
  readonly model: string | null;
  /** Tokens as the endpoint counted them. */
  readonly usage: { readonly input: number; readonly output: number } | null;
}

/** Why a judgement was not made. */
export type FailureReason =
  | "no-connection"
  | "dropped"
  | "timeout"
  | "rate-limit"
  | "server-error"
  | "refused"
  | "not-found"
  | "rejected"
  | "no-chat-answer"
  | "over-budget";

export interface Failure {
  readonly reason: FailureReason;
  /** One sentence: what came back, from where. */
  readonly detail: string;
}

export interface FailedAttempt {
  readonly failure: Failure;
  /** How long the endpoint asks to wait, in milliseconds; undefined where it doesn't say. */
  readonly waitMs?: number | undefined;
}

/** What one request came to. */
export type Attempt = { readonly answer: ChatAnswer } | FailedAttempt;

/** A response whose body was read. */
export interface ReadResponse {
  /** The endpoint's address as messages may show it. */
  readonly shownUrl: string;
  readonly status: number;
  readonly statusText: string;
  readonly contentType: string;
  readonly retryAfter: string | null;
  /** Where a redirect points, as messages may show it. */
  readonly location: string | undefined;
  readonly body: string;
  readonly redaction: Redaction;
}

const completion = z.object({
  model: z.string().nullish(),
  choices: z
    .array(
      z.object({
        message: z.object({ content: z.string().nullish(), refusal: z.string().nullish() }),
        finish_reason: z.string().nullish(),
      }),
    )
    .min(1),
  usage: z.object({ prompt_tokens: z.number(), completion_tokens: z.number() }).nullish().catch(null),
});

const excerptLength = 200;

const excerpt = (body: string): string => {
  const line = oneLine(body);
  if (line === "") return "an empty body";
  return line.length > excerptLength ? `"${line.slice(0, excerptLength)}…"` : `"${line}"`;
};

const described = ({ shownUrl, status, statusText, contentType, body, redaction }: ReadResponse): string => {
  const told = redaction.inDetail(statusText);
  const type = contentType === "" ? "no content type" : redaction.inDetail(contentType);
  return `${shownUrl} answered ${`${status} ${told}`.trim()} with ${type}: ${excerpt(redaction.inDetail(body))}`;
};

/** `Retry-After` in milliseconds: seconds, or a date. */
export const retryAfterMs = (header: string | null, now = Date.now()): number | undefined => {
  if (header === null || header.trim() === "") return undefined;
  const seconds = Number(header);
  const milliseconds = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(header) - now;
  return Number.isNaN(milliseconds) ? undefined : Math.max(0, milliseconds);
};

/** A quota that is used up is told as a rate limit, but no waiting helps. */
const quotaUsedUp = /insufficient_quota/;

const reasonOf = ({ status, body }: ReadResponse): FailureReason => {
  if (status === 429) return quotaUsedUp.test(body) ? "refused" : "rate-limit";
  if (status === 408 || status >= 500) return "server-error";
  if (status === 401 || status === 402 || status === 403) return "refused";
  if (status === 404 || status === 405 || (status >= 300 && status < 400)) return "not-found";
  return "rejected";
};

const parseJson = (text: string): unknown => {
  try {
    const value: unknown = JSON.parse(text);
    return value;
  } catch {
    return undefined;
  }
};

/** A judge's answer in a response, or why there is none. */
export const readAnswer = (response: ReadResponse): Attempt => {
  const { status, body, retryAfter, location, redaction } = response;
  if (status < 200 || status > 299) {
    const moved = location === undefined ? "" : ` It points to ${redaction.inDetail(location)}.`;
    return {
      failure: { reason: reasonOf(response), detail: `${described(response)}.${moved}` },
      waitMs: retryAfterMs(retryAfter),
    };
  }
  const value = parseJson(body);
  const parsed = completion.safeParse(value);
  const [choice] = parsed.data?.choices ?? [];
  if (!parsed.success || choice === undefined) {
    const wanted = value === undefined ? "no JSON" : "no chat completion (choices[0].message)";
    return { failure: { reason: "no-chat-answer", detail: `${described(response)}, which is ${wanted}.` } };
  }
  const { message, finish_reason: finish } = choice;
  const { model, usage } = parsed.data;
  const kept = (text: string | null | undefined): string | null => (text ? redaction.inReply(text) : null);
  return {
    answer: {
      text: redaction.inReply(message.content ?? message.refusal ?? ""),
      finish: kept(finish),
      model: kept(model),
      usage: usage ? { input: usage.prompt_tokens, output: usage.completion_tokens } : null,
    },
  };
};
