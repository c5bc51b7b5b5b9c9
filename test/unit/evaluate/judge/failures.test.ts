import { readFile } from "node:fs/promises";
import { createServer } from "node:net";
import { expect, test } from "vitest";
import { retryAfterMs } from "../../../../ts/evaluate/judge/chat-answer.js";
import { judge } from "../../../../ts/evaluate/judge/judge.js";
import type { JudgeOptionsInput } from "../../../../ts/evaluate/judge/options.js";
import { answeredResult, writeResults } from "../../../support/answered-results.js";
import {
  completion,
  drop,
  type JudgeReaction,
  type JudgeRequest,
  judgeServer,
  silence,
} from "../../../support/judge-server.js";
import { temporaryFolder } from "../../../support/temporary-folder.js";
import { rejectionOf } from "../../../support/thrown.js";

/** One question a category, so that a test can say which answer fails. */
const questions = ["good", "bad"].map((category, index) => ({ question: index + 1, category }));

const set = async (react: (request: JudgeRequest) => JudgeReaction, changes: Partial<JudgeOptionsInput> = {}) => {
  const folder = await temporaryFolder();
  const file = await writeResults(folder, "tuned.json", [answeredResult("tuned", questions)]);
  const server = await judgeServer(react);
  const options = { endpoint: server.endpoint, judgeModel: "judge", retries: 2, firstWait: 0.001, ...changes };
  return { server, file, run: () => judge({ results: [file], ...options }) };
};

/** Question 1 is answered well. */
const goodAndBad =
  (bad: JudgeReaction) =>
  ({ prompt }: JudgeRequest): JudgeReaction =>
    prompt.includes("asks 1 ") ? "Rating: [[8]]" : bad;

test.each<readonly [string, JudgeReaction, string, number]>([
  [
    "HTML amid good answers",
    { status: 200, headers: { "content-type": "text/html" }, body: "<html>" },
    "no-chat-answer",
    1,
  ],
  ["other JSON", { status: 200, body: '{"result": "fine"}' }, "no-chat-answer", 1],
  ["a choice without a message", { status: 200, body: '{"choices": [{}]}' }, "no-chat-answer", 1],
  ["half of a JSON", { status: 200, body: completion("[[9]]").slice(0, 80) }, "no-chat-answer", 1],
  ["an error page of a gateway", { status: 502, body: "<html>" }, "server-error", 3],
  ["an overloaded server", { status: 529, body: "{}" }, "server-error", 3],
  ["a refused question", { status: 400, body: '{"error": "too long"}' }, "rejected", 1],
  ["a rate limit without end", { status: 429, headers: { "retry-after": "0" } }, "rate-limit", 3],
  ["a limit that asks for an hour", { status: 429, headers: { "retry-after": "3600" } }, "rate-limit", 1],
  ["a dropped connection", drop, "dropped", 3],
  ["no answer at all", silence, "timeout", 3],
  ["a text without rating", "I'd rather not say.", "no-rating", 1],
  ["nothing", "", "empty-reply", 1],
  ["null", { status: 200, body: completion(null) }, "empty-reply", 1],
  ["an answer that was cut off", { status: 200, body: completion("Well, to begin", "length") }, "cut-off", 1],
  ["a rating that was cut off", { status: 200, body: completion("Rating: 1", "length") }, "cut-off", 1],
  ["a rating out of range", "[[0]]", "out-of-range", 1],
])("%s is missing, never 0", async (_name, bad, reason, attempts) => {
  // Short only where it is waited for: on a busy machine a good answer takes its time too.
  const { server, run } = await set(goodAndBad(bad), { timeout: bad === silence ? 1 : 20 });
  const judging = await run();
  const { overall, categories } = judging.methods?.[0] ?? {};
  expect(overall).toEqual({ mean: 8, scored: 2, unscored: 2, missing: 2 });
  expect(categories?.["bad"]).toEqual({ mean: null, scored: 0, unscored: 2, missing: 2 });
  expect(judging.missing).toEqual({ judgements: 2, reasons: { [reason]: 2 } });
  expect(server.requests).toHaveLength(2 + 2 * attempts);
});

test("an answer after rate limits and faults counts like any other", async () => {
  const tries = new Map<string, number>();
  const { run, server } = await set(({ prompt }) => {
    const count = (tries.get(prompt) ?? 0) + 1;
    tries.set(prompt, count);
    if (count === 1) return { status: 429, headers: { "retry-after": "0" } };
    return count === 2 ? drop : "[[6]]";
  });
  const judging = await run();
  expect(judging.methods?.[0]?.overall).toEqual({ mean: 6, scored: 4, unscored: 0, missing: 0 });
  expect(judging.reviews.map(({ attempts }) => attempts)).toEqual([3, 3, 3, 3]);
  expect(server.requests).toHaveLength(12);
});

test("the time that an endpoint asks for is waited, by all requests", async () => {
  const times: number[] = [];
  const { run } = await set(
    ({ before }) => {
      times.push(performance.now());
      return before === 1 ? { status: 429, headers: { "retry-after": "1" } } : "[[6]]";
    },
    { concurrency: 2 },
  );
  const judging = await run();
  expect(judging.methods?.[0]?.overall.missing).toBe(0);
  const [, , , fourth = 0, fifth = 0] = times;
  expect(times).toHaveLength(5);
  expect(Math.min(fourth, fifth) - (times[1] ?? 0)).toBeGreaterThan(900);
});

test("Retry-After is read as seconds or as a date", () => {
  expect([null, "", "soon", "2", "0.5", "-3"].map((text) => retryAfterMs(text))).toEqual([
    undefined,
    undefined,
    undefined,
    2000,
    500,
    0,
  ]);
  const now = Date.parse("2026-01-01T00:00:00Z");
  expect(retryAfterMs("Thu, 01 Jan 2026 00:00:07 GMT", now)).toBe(7000);
});

test("failed judgements and their reasons are in the file", async () => {
  const { run } = await set(goodAndBad({ status: 400, body: '{"error": "too long"}' }));
  const { reviewsFile } = await run();
  const failures = (await readFile(reviewsFile, "utf8")).split("\n").filter((line) => line.includes('"failure"'));
  expect(failures).toHaveLength(2);
  expect(JSON.parse(failures[0] ?? "")).toMatchObject({
    type: "failure",
    question: 2,
    failure: {
      reason: "rejected",
      detail: expect.stringContaining('answered 400 Bad Request with application/json: "{"error": "too long"}"'),
    },
  });
});

const page = "<!doctype html><title>Sign in to Zorb</title>";

test.each<readonly [string, JudgeReaction, string]>([
  ["HTML", { status: 200, headers: { "content-type": "text/html; charset=utf-8" }, body: page }, "Sign in to Zorb"],
  [
    "a login page elsewhere",
    { status: 302, headers: { location: "https://zorb.example/login" } },
    "zorb.example/login",
  ],
  ["a page that is not there", { status: 404, body: page }, "404 Not Found"],
  ["a wrong key", { status: 401, body: '{"error": "bad key"}' }, "401 Unauthorized"],
  [
    "a quota that is used up",
    { status: 429, body: '{"error": {"code": "insufficient_quota"}}' },
    "insufficient_quota",
  ],
])("a first answer that is %s ends the judging after one request", async (_name, reaction, told) => {
  const { run, server } = await set(() => reaction);
  const error = await rejectionOf(run(), "judge/unusable");
  expect(error.message).toContain(told);
  expect(error.message).toContain(`${server.endpoint}/chat/completions`);
  expect(server.requests).toHaveLength(1);
});

test.each([
  [
    "https://zorb.example/v1/chat/completions?key=sk-zorb-secret",
    " It points to https://zorb.example/v1/chat/completions.",
  ],
  ["https://me:sk-zorb-secret@zorb.example/login#sk-zorb-secret", " It points to https://zorb.example/login."],
  ["/login?next=sk-zorb-secret", "/login."],
  ["http://[sk-zorb-secret", ": an empty body."],
  ["mailto:sk-zorb-secret", ": an empty body."],
])("a redirect to %s is told without what may be a key", async (location, ending) => {
  const { run, server } = await set(
    ({ before }) => (before === 0 ? "[[8]]" : { status: 307, headers: { location } }),
    {
      concurrency: 1,
    },
  );
  const error = await rejectionOf(run(), "judge/unusable");
  expect(error.message.endsWith(ending)).toBe(true);
  expect(error.message).not.toContain("sk-zorb-secret");
  expect(server.requests).toHaveLength(2);
});

test("a key that is refused later ends the judging, and what was judged is kept", async () => {
  const { run, server } = await set(({ before }) => (before === 0 ? "[[8]]" : { status: 401 }), { concurrency: 1 });
  await rejectionOf(run(), "judge/unusable");
  expect(server.requests).toHaveLength(2);
  await rejectionOf(run(), "judge/unusable");
  // The first judgement was not asked for again.
  expect(server.requests).toHaveLength(3);
});

test("an address where nobody listens is told at once", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  const address = await new Promise<ReturnType<typeof server.address>>((resolve) => {
    server.once("listening", () => resolve(server.address()));
  });
  await new Promise((resolve) => {
    server.close(resolve);
  });
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const { run } = await set(() => "", { endpoint: `http://127.0.0.1:${port}` });
  const error = await rejectionOf(run(), "judge/unreachable");
  expect(error.message).toContain("ECONNREFUSED");
  expect(error.message).toContain("3 attempts");
});

test("an endpoint that never gives an answer ends the judging after eight judgements", async () => {
  const { run, server } = await set(() => ({ status: 500, body: "broken" }), {
    judgements: 5,
    retries: 0,
    concurrency: 1,
  });
  const error = await rejectionOf(run(), "judge/unreachable");
  expect(error.message).toContain("None of 8 judgements");
  expect(error.message).toContain("500 Internal Server Error");
  expect(server.requests).toHaveLength(8);
});
