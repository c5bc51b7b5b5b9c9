import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import { type CostEstimate, estimatedTokens, estimateText } from "../../../../ts/evaluate/judge/cost.js";
import { judge } from "../../../../ts/evaluate/judge/judge.js";
import type { JudgeOptionsInput } from "../../../../ts/evaluate/judge/options.js";
import { answeredResult, twoQuestions, writeResults } from "../../../support/answered-results.js";
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

afterEach(() => {
  vi.unstubAllEnvs();
});

const set = async (react: (request: JudgeRequest) => JudgeReaction, changes: Partial<JudgeOptionsInput> = {}) => {
  const folder = await temporaryFolder();
  const file = await writeResults(folder, "tuned.json", [answeredResult("tuned")]);
  const server = await judgeServer(react);
  const options = { results: [file], endpoint: server.endpoint, judgeModel: "judge", retries: 0, ...changes };
  return { folder, file, server, options };
};

test("the cost is told before anything is sent or written, and a no ends it", async () => {
  const { options, server, folder } = await set(() => "[[7]]", { priceIn: 2, priceOut: 8, judgements: 2 });
  const told: CostEstimate[] = [];
  const confirm = (estimate: CostEstimate): boolean => {
    told.push(estimate);
    return false;
  };
  const error = await rejectionOf(judge(options, { confirm }), "cancelled");
  expect(error.message).toContain("Nothing was asked of the judge: 8 requests");
  expect(server.requests).toHaveLength(0);
  expect(await readdir(folder)).toEqual(["tuned.json"]);
  const [estimate] = told;
  expect(estimate).toMatchObject({ requests: 8, outputTokens: 8 * 1024 });

  await judge(options);
  const inputTokens = server.requests.reduce((total, { prompt }) => total + estimatedTokens(prompt), 0);
  expect(estimate?.inputTokens).toBe(inputTokens);
  expect(estimate?.money).toBeCloseTo((2 * inputTokens + 8 * 8 * 1024) / 1e6, 12);
});

test("only what is still to be bought is in the estimate; of nothing nobody is asked", async () => {
  const { options } = await set(() => "[[7]]");
  await judge(options);
  const asked: number[] = [];
  const confirm = ({ requests }: CostEstimate): boolean => asked.push(requests) > 0;
  await judge({ ...options, judgements: 3 }, { confirm });
  await judge({ ...options, judgements: 3 }, { confirm });
  expect(asked).toEqual([8]);
});

test("the estimate as people read it", () => {
  const estimate = { requests: 2, inputTokens: 10, outputTokens: 20 };
  expect(estimateText({ ...estimate, money: null })).toBe(
    "2 requests, about 10 input tokens, at most 20 output tokens; no prices given",
  );
  expect(estimateText({ ...estimate, money: 4.906 })).toContain("at most 4.91 in the prices' currency");
});

test("a budget is never overspent; what it leaves out is missing, and asked for by the next call", async () => {
  // The server says 100 + 10 tokens: 110 a judgement. The worst beforehand is some 300 + 1024.
  const { options, server } = await set(() => "[[7]]", { priceIn: 1e6, priceOut: 1e6, budget: 1700, concurrency: 4 });
  const judging = await judge(options);
  expect(judging.spent.money).toBe(110 * server.requests.length);
  expect(judging.spent.money).toBeLessThanOrEqual(1700);
  expect(judging.missing.reasons).toEqual({ "over-budget": 4 - server.requests.length });
  expect(server.requests.length).toBeGreaterThanOrEqual(1);
  expect(server.requests.length).toBeLessThan(4);
  const { budget: _budget, ...unbounded } = options;
  const rest = await judge(unbounded);
  expect(server.requests).toHaveLength(4);
  expect(rest.missing.judgements).toBe(0);
});

test("requests that ran into a timeout count as spent", async () => {
  const changes = { priceIn: 1, priceOut: 1, timeout: 1, concurrency: 1 };
  const { options } = await set(({ before }) => (before === 1 ? silence : "[[7]]"), changes);
  const { spent } = await judge(options);
  expect(spent.requests).toBe(4);
  expect(spent.outputTokens).toBe(3 * 10 + 1024);
});

test.each<readonly [string, JudgeReaction, string]>([
  ["ran into a timeout", silence, "timeout"],
  ["lost its connection", drop, "dropped"],
])("a request that %s is not sent again where the budget has no room for both", async (_name, fault, reason) => {
  // Tokens at a price of 1 each: a request costs at most some 300 + 1024, and may have been charged for in vain.
  const prices = { priceIn: 1e6, priceOut: 1e6, budget: 2000 };
  const changes = { ...prices, retries: 5, firstWait: 0.001, timeout: 1, concurrency: 1 };
  const { options, server } = await set(() => fault, changes);
  const { missing, spent, reviewsFile } = await judge(options);
  expect(server.requests).toHaveLength(1);
  expect(missing.reasons).toEqual({ [reason]: 1, "over-budget": 3 });
  expect(spent.money).toBeLessThanOrEqual(2000);
  expect(await readFile(reviewsFile, "utf8")).toContain("The budget has no room for another attempt.");
});

test("what a retry did not need of the budget is there for others", async () => {
  // Room for two requests at worst. The first is lost; each answer costs 110, so that the others fit after it.
  const changes = { priceIn: 1e6, priceOut: 1e6, budget: 3100, retries: 1, firstWait: 0.001, concurrency: 1 };
  const { options, server } = await set(({ before }) => (before === 0 ? drop : "[[7]]"), changes);
  const { missing, spent } = await judge(options);
  expect(server.requests).toHaveLength(5);
  expect(missing.judgements).toBe(0);
  expect(spent.money).toBe(4 * 110 + estimatedTokens(server.requests[0]?.prompt ?? "") + 1024);
});

test("an answer that can't be read counts as spent", async () => {
  const torn = { status: 200, body: completion("[[9]]").slice(0, 80) };
  const { options } = await set(({ before }) => (before === 1 ? torn : "[[7]]"), { concurrency: 1 });
  expect((await judge(options)).spent.outputTokens).toBe(3 * 10 + 1024);
});

test("the key comes from the environment, and stands in no file, message or record", async () => {
  const key = "sk-zorb-0123456789";
  vi.stubEnv("ZORB_KEY", ` ${key}\n`);
  const leaky = { status: 400, body: JSON.stringify({ error: `Bearer ${key} can't use this model` }) };
  const { options, server, folder } = await set(({ before }) => (before === 0 ? `You sent ${key}. [[7]]` : leaky), {
    apiKeyEnv: "ZORB_KEY",
  });
  const judging = await judge(options);
  expect(server.requests.map(({ authorization }) => authorization)).toEqual(Array(4).fill(`Bearer ${key}`));
  expect(JSON.stringify(judging)).not.toContain(key);
  for (const name of await readdir(folder)) expect(await readFile(join(folder, name), "utf8")).not.toContain(key);
  expect(await readFile(judging.reviewsFile, "utf8")).toContain("Bearer [key] can't use this model");

  const refusing = await set(() => ({ status: 401, body: `no such key: ${key}` }), { apiKeyEnv: "ZORB_KEY" });
  const error = await rejectionOf(judge(refusing.options), "judge/unusable");
  expect(error.message).toContain("no such key: [key]");
});

test.each(["1", "10", "token", "completion", "7"])("a key that is %j spoils no answer", async (key) => {
  vi.stubEnv("ZORB_KEY", key);
  const { options } = await set(() => "A token of 7 for completion: [[10]]", {
    apiKeyEnv: "ZORB_KEY",
    concurrency: 1,
  });
  const { methods, spent, answeredBy } = await judge(options);
  expect(methods?.[0]?.overall).toMatchObject({ mean: 10, missing: 0 });
  expect(spent).toMatchObject({ inputTokens: 400, outputTokens: 40 });
  expect(answeredBy).toEqual(["judge-2026"]);
});

test("keys in the address's query are blotted out of failures, as addresses and JSON write them too", async () => {
  const key = 'zorb/"secret"';
  const body = JSON.stringify({ error: `none at ?key=${encodeURIComponent(key)}, ${key}: abc, abcd`, code: 1 });
  const { options } = await set(({ before }) => (before === 0 ? "[[7]]" : { status: 400, body }));
  const endpoint = `${options.endpoint}/chat/completions?key=${encodeURIComponent(key)}&short=abc`;
  const { reviewsFile } = await judge({ ...options, endpoint });
  const text = await readFile(reviewsFile, "utf8");
  expect(text).toContain(JSON.stringify('"{"error":"none at ?key=[key], [key]: [key], abcd","code":1}"').slice(1, -1));
  expect(text).not.toContain("secret");
});

test.each([
  ["", "is not set"],
  ["two words", "holds characters that no key has"],
])("a key that is %j is refused before anything is sent", async (value, told) => {
  vi.stubEnv("ZORB_KEY", value);
  const { options, server } = await set(() => "[[7]]", { apiKeyEnv: "ZORB_KEY" });
  const error = await rejectionOf(judge(options), "input/invalid-spec");
  expect(error.message).toContain(`ZORB_KEY ${told}`);
  expect(server.requests).toHaveLength(0);
});

test("fields of the request are the caller's to set and to leave out", async () => {
  const request = { temperature: 1, max_tokens: null, max_completion_tokens: 500 };
  const { options, server } = await set(() => "[[7]]", { request });
  const judging = await judge(options);
  const { messages: _messages, ...fields } = server.requests[0]?.body ?? {};
  expect(fields).toEqual({ model: "judge", temperature: 1, max_completion_tokens: 500 });
  expect(judging.protocol).toContain("temperature 1");
});

test.each<readonly [string, Partial<JudgeOptionsInput>, string]>([
  ["no address", { endpoint: "localhost:8000" }, "no http address"],
  ["a file", { endpoint: "file:///etc/hosts" }, "no http address"],
  ["a password in the address", { endpoint: "https://me:secret@judge.example/v1" }, "a user or a password"],
  ["a budget without prices", { budget: 3 }, "needs the prices"],
  ["a field of our own", { request: { stream: true } }, "request.stream"],
  ["no bound to the answers", { request: { max_tokens: null } }, "no bound"],
  ["no judgements", { judgements: 0 }, "judgements"],
  ["one result, pairwise", { mode: "pairwise" }, "no other to compare"],
])("%s is refused", async (_name, changes, told) => {
  const { options, server } = await set(() => "[[7]]");
  const error = await rejectionOf(judge({ ...options, ...changes }), "input/invalid-spec");
  expect(error.message).toContain(told);
  expect(error.message).not.toContain("secret");
  expect(server.requests).toHaveLength(0);
});

test.each([
  ["", "/v1/chat/completions"],
  ["/", "/v1/chat/completions"],
  ["/chat/completions", "/v1/chat/completions"],
  ["/chat/completions?key=secret", "/v1/chat/completions?key=secret"],
])("an address with %j at its end", async (ending, path) => {
  const { options, server } = await set(() => "[[7]]");
  const judging = await judge({ ...options, endpoint: `${options.endpoint}${ending}` });
  expect(server.requests[0]?.path).toBe(path);
  expect(JSON.stringify(judging)).not.toContain("secret");
});

test.each<readonly [string, unknown, string]>([
  ["no results of MT-Bench", { results: [{ task: "piqa", template: "x", protocol: "y" }] }, "(found: piqa)"],
  ["no results at all", { fine: true }, "(found: no results)"],
  ["two of them", { results: [answeredResult("a"), answeredResult("b")] }, "(found: mt-bench, mt-bench)"],
  ["no rows", answeredResult("a", []), "(found: no rows)"],
])("a file with %s is refused", async (_name, content, told) => {
  const { options, file } = await set(() => "[[7]]");
  await writeFile(file, JSON.stringify(content));
  expect((await rejectionOf(judge(options), "input/invalid-spec")).message).toContain(told);
});

test("a row of an older version, or with a turn too few, is named", async () => {
  const { options, file } = await set(() => "[[7]]");
  const row = { output: "first", turns: [{ output: "first" }] };
  const material = { question: 1, category: "c", turns: ["asks", "then"], references: [] };
  const result = { task: "mt-bench", template: "chat", protocol: "p" };
  await writeFile(file, JSON.stringify({ ...result, rows: [row] }));
  expect((await rejectionOf(judge(options), "data/bad-row")).message).toContain("evaluate again");
  await writeFile(file, JSON.stringify({ ...result, rows: [{ ...row, material }] }));
  expect((await rejectionOf(judge(options), "data/bad-row")).message).toContain("row 0: it has 1 answers to 2 turns");
});

test("methods have names of their own, and pairs the same questions", async () => {
  const { options, folder } = await set(() => "[[7]]");
  const results = [await writeResults(folder, "a/x.json", [answeredResult("a")])];
  results.push(await writeResults(folder, "b/x.json", [answeredResult("b")]));
  const twice = await rejectionOf(judge({ ...options, results }), "input/invalid-spec");
  expect(twice.message).toContain('called "x"');
  const named = results.map((file, index) => `${"ab".charAt(index)}=${file}`);
  const judging = await judge({ ...options, results: named });
  expect(judging.methods?.map(({ label }) => label)).toEqual(["a", "b"]);
  const other = await writeResults(folder, "c.json", [answeredResult("c", twoQuestions.slice(1))]);
  const pair = judge({ ...options, results: [...results.slice(0, 1), other], mode: "pairwise" });
  expect((await rejectionOf(pair, "input/invalid-spec")).found).toBe("1 question, 1 in common");
});
