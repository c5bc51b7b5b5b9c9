import { setTimeout as delay } from "node:timers/promises";
import { MiloraError } from "../../errors.js";
import { systemErrorCode } from "../../util/files.js";
import {
  type Attempt,
  type ChatAnswer,
  type FailedAttempt,
  type Failure,
  type FailureReason,
  readAnswer,
} from "./chat-answer.js";
import { createRedaction, type Redaction } from "./redaction.js";

/** The one file that speaks to a network from TypeScript. */

/** What a question to the endpoint came to, after all its attempts. */
export type Outcome = ({ readonly answer: ChatAnswer } | { readonly failure: Failure }) & {
  readonly attempts: number;
  /** Attempts that may have been charged for although no answer came back. */
  readonly unanswered: number;
  readonly seconds: number;
};

export interface ChatClientOptions {
  readonly url: URL;
  readonly apiKey: string | undefined;
  /** Fields of the request's body beside the messages. */
  readonly body: Readonly<Record<string, unknown>>;
  /** Attempts after the first. */
  readonly retries: number;
  readonly timeoutMs: number;
  /** The first wait before a retry; it doubles with each. */
  readonly firstWaitMs: number;
  /** A longer wait that an endpoint asks for is not waited. */
  readonly longestWaitMs: number;
  /** An abort ends the running request; `ask` then rejects with `cancelled`. */
  readonly signal: AbortSignal;
}

export interface ChatClient {
  /** An attempt that follows one which may have been charged for needs `payAgain` to give true; else it is not made. */
  readonly ask: (prompt: string, payAgain: () => boolean) => Promise<Outcome>;
}

const largestBody = 4 * 1024 * 1024;
const path = "/chat/completions";

/**
 * The address of chat completions under a base address, or as it stands.
 * Errors: `input/invalid-spec` for what is no http(s) address, or one that holds a key.
 */
export const completionsUrl = (endpoint: string): URL => {
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  const options = { path: "endpoint", allowed: "an http or https address such as http://localhost:8000/v1" };
  if (url === undefined || !["http:", "https:"].includes(url.protocol)) {
    throw new MiloraError("input/invalid-spec", `The endpoint is no http address: ${endpoint}`, {
      ...options,
      found: endpoint,
    });
  }
  if (url.username !== "" || url.password !== "") {
    throw new MiloraError("input/invalid-spec", `The endpoint's address of ${url.host} holds a user or a password.`, {
      ...options,
      hint: "Put the key into an environment variable and name it with --api-key-env.",
    });
  }
  if (!url.pathname.endsWith(path)) url.pathname = `${url.pathname.replace(/\/+$/, "")}${path}`;
  return url;
};

/** An address as messages may show it: its query may hold a key. */
export const shownAddress = (url: URL): string => `${url.origin}${url.pathname}`;

/** Where a redirect points, which may repeat the query of the question; undefined where that is no web address. */
const shownLocation = (location: string | null, url: URL): string | undefined => {
  if (location === null || !URL.canParse(location, url.href)) return undefined;
  const target = new URL(location, url);
  return target.origin === "null" ? undefined : shownAddress(target);
};

const readBody = async (response: Response): Promise<string> => {
  const decoder = new TextDecoder();
  let text = "";
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.byteLength;
    text += decoder.decode(chunk, { stream: true });
    if (bytes > largestBody) return text;
  }
  return text + decoder.decode();
};

/** Codes of connections that were never made: nothing was sent, and nothing charged. */
const notConnected = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "UND_ERR_CONNECT_TIMEOUT",
]);

/** What a failed fetch says, such as `connect ECONNREFUSED 127.0.0.1:9`. */
const networkFailure = (error: unknown, shownUrl: string): Failure => {
  const inner = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const code = systemErrorCode(inner) ?? "";
  const message = inner instanceof Error ? inner.message : String(inner);
  const told = message === "" ? code : message;
  return notConnected.has(code)
    ? { reason: "no-connection", detail: `${shownUrl} could not be reached: ${told}.` }
    : { reason: "dropped", detail: `The connection to ${shownUrl} was lost: ${told}.` };
};

const retried: ReadonlySet<FailureReason> = new Set<FailureReason>([
  "no-connection",
  "dropped",
  "timeout",
  "rate-limit",
  "server-error",
]);

/** The endpoint may have made, and charged for, an answer that did not arrive or can't be read. */
const maybeCharged: ReadonlySet<FailureReason> = new Set<FailureReason>(["dropped", "timeout", "no-chat-answer"]);

/** One request and what it came to; a user's abort rejects. */
const request = async (
  options: ChatClientOptions & { readonly redaction: Redaction },
  prompt: string,
): Promise<Attempt> => {
  const { url, apiKey, body, timeoutMs, signal, redaction } = options;
  const shownUrl = shownAddress(url);
  const timeout = AbortSignal.timeout(timeoutMs);
  try {
    const response = await fetch(url, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        accept: "application/json",
        ...(apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }),
      },
      body: JSON.stringify({ ...body, messages: [{ role: "user", content: prompt }] }),
      // A redirect would turn the question into a GET, or carry it elsewhere.
      redirect: "manual",
      signal: AbortSignal.any([signal, timeout]),
    });
    return readAnswer({
      shownUrl,
      status: response.status,
      statusText: response.statusText,
      contentType: response.headers.get("content-type") ?? "",
      retryAfter: response.headers.get("retry-after"),
      location: shownLocation(response.headers.get("location"), url),
      body: await readBody(response),
      redaction,
    });
  } catch (error) {
    signal.throwIfAborted();
    if (timeout.aborted) {
      return { failure: { reason: "timeout", detail: `${shownUrl} did not answer within ${timeoutMs / 1000} s.` } };
    }
    const { reason, detail } = networkFailure(error, shownUrl);
    return { failure: { reason, detail: redaction.inDetail(detail) } };
  }
};

/** A client of an OpenAI-compatible endpoint; all its questions wait where the endpoint asks one of them to. */
export const createChatClient = (options: ChatClientOptions): ChatClient => {
  const { url, apiKey, retries, firstWaitMs, longestWaitMs, signal } = options;
  const redaction = createRedaction(url, apiKey);
  let pausedUntil = 0;

  const waitBeforeRetry = async (attempts: number, { waitMs, failure }: FailedAttempt): Promise<void> => {
    const doubled = firstWaitMs * 2 ** (attempts - 1) * (0.5 + Math.random() / 2);
    const wait = waitMs ?? Math.min(doubled, longestWaitMs);
    if (failure.reason === "rate-limit") pausedUntil = Math.max(pausedUntil, Date.now() + wait);
    else await delay(wait, undefined, { signal });
  };
  const waitForPause = async (): Promise<void> => {
    for (let left = pausedUntil - Date.now(); left > 0; left = pausedUntil - Date.now()) {
      await delay(left, undefined, { signal });
    }
  };

  /** Why no other attempt is made, in words for the failure's detail; undefined where one is. */
  const endOf = (attempts: number, failed: FailedAttempt, payAgain: () => boolean): string | undefined => {
    const { failure, waitMs = 0 } = failed;
    if (!retried.has(failure.reason) || attempts > retries) return "";
    if (waitMs > longestWaitMs) {
      return ` It asks to wait ${waitMs / 1000} s, longer than ${longestWaitMs / 1000} s.`;
    }
    if (maybeCharged.has(failure.reason) && !payAgain()) return " The budget has no room for another attempt.";
    return undefined;
  };

  return {
    ask: async (prompt, payAgain) => {
      const startedAt = performance.now();
      let unanswered = 0;
      for (let attempts = 1; ; attempts += 1) {
        await waitForPause();
        const attempt = await request({ ...options, redaction }, prompt);
        const seconds = (performance.now() - startedAt) / 1000;
        if ("answer" in attempt) return { answer: attempt.answer, attempts, unanswered, seconds };
        const { failure } = attempt;
        if (maybeCharged.has(failure.reason)) unanswered += 1;
        const end = endOf(attempts, attempt, payAgain);
        if (end !== undefined) {
          const detail = `${failure.detail}${end}${attempts > 1 ? ` (${attempts} attempts)` : ""}`;
          return { failure: { ...failure, detail }, attempts, unanswered, seconds };
        }
        await waitBeforeRetry(attempts, attempt);
      }
    },
  };
};
