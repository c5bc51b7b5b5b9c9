import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { judge, type Judging } from "../../../../ts/evaluate/judge/judge.js";
import type { JudgeOptionsInput } from "../../../../ts/evaluate/judge/options.js";
import { answeredResult, twoQuestions, writeResults } from "../../../support/answered-results.js";
import { judgeServer, type JudgeRequest } from "../../../support/judge-server.js";
import { temporaryFolder } from "../../../support/temporary-folder.js";

const options = (endpoint: string, results: readonly string[]): JudgeOptionsInput => ({
  results: [...results],
  endpoint,
  judgeModel: "judge",
});

/** The method whose answer stands between two tags. */
const methodIn = (prompt: string, tag: string): string =>
  new RegExp(`<${tag}>\\n(\\w+) replies`).exec(prompt)?.[1] ?? "none";

test("single answers: each turn is graded, with its conversation and the right answers there are", async () => {
  const folder = await temporaryFolder();
  const file = await writeResults(folder, "tuned.json", [{ task: "arc-easy" }, answeredResult("tuned")]);
  const server = await judgeServer(({ prompt }) => {
    const second = prompt.includes("<reply_2>");
    return prompt.includes("asks 111") ? `Rating: [[${second ? 4 : 10}]]` : `Rating: [[${second ? 5 : 6}]]`;
  });
  const judging = await judge(options(server.endpoint, [file]));
  expect(judging.methods).toEqual([
    {
      label: "tuned",
      interval: null,
      overall: { mean: 6.25, scored: 4, unscored: 0, missing: 0 },
      turns: {
        "1": { mean: 8, scored: 2, unscored: 0, missing: 0 },
        "2": { mean: 4.5, scored: 2, unscored: 0, missing: 0 },
      },
      categories: {
        writing: { mean: 5.5, scored: 2, unscored: 0, missing: 0 },
        math: { mean: 7, scored: 2, unscored: 0, missing: 0 },
      },
    },
  ]);
  expect(judging.missing).toEqual({ judgements: 0, reasons: {} });
  expect(judging.questions).toEqual({ referenced: 1, total: 2 });
  expect(judging.answeredBy).toEqual(["judge-2026"]);
  expect(judging.spent).toEqual({ requests: 4, inputTokens: 400, outputTokens: 40, money: null });

  expect(server.requests).toHaveLength(4);
  const asked = server.requests.map(({ path, method, authorization }) => ({ path, method, authorization }));
  expect(asked[0]).toEqual({ path: "/v1/chat/completions", method: "POST", authorization: undefined });
  expect(server.requests[0]?.body).toMatchObject({ model: "judge", temperature: 0, max_tokens: 1024 });
  const prompts = server.requests.map(({ prompt }) => prompt);
  const ofMaths = prompts.filter((prompt) => prompt.includes("asks 111"));
  expect(ofMaths.every((prompt) => prompt.includes("<correct_answer_1>\nthe answer is 4\n"))).toBe(true);
  expect(prompts.filter((prompt) => prompt.includes("correct_answer"))).toEqual(ofMaths);
  const second = prompts.filter((prompt) => prompt.includes("asks 81 then"));
  expect(second).toHaveLength(1);
  expect(second[0]).toContain("tuned replies to 81 first");
  expect(second[0]).toContain("<reply_2>\ntuned replies to 81 then\n</reply_2>");
});

test("the figures and every raw review are on disk", async () => {
  const folder = await temporaryFolder();
  const file = await writeResults(folder, "tuned.json", [answeredResult("tuned")]);
  const server = await judgeServer(() => "Fine.\nRating: [[7]]");
  const judging = await judge(options(server.endpoint, [file]));
  const { reviews, ...figures } = judging;
  expect(judging.reviewsFile).toBe(join(folder, "tuned-judged-single.jsonl"));
  const saved: unknown = JSON.parse(await readFile(join(folder, "tuned-judged-single.json"), "utf8"));
  expect(saved).toEqual(JSON.parse(JSON.stringify(figures)));
  expect(figures.templates["single-turn-1"]).toContain("{replyA1}");
  expect(figures.protocol).toContain(
    `judge judge; temperature 0; one judgement each; prompts ${figures.templateHash}`,
  );
  const lines = (await readFile(judging.reviewsFile, "utf8")).trimEnd().split("\n");
  const records: readonly unknown[] = lines.map((line) => JSON.parse(line));
  expect(records[0]).toMatchObject({ type: "judging", mode: "single", templateHash: judging.templateHash });
  expect(records).toHaveLength(5);
  for (const record of records.slice(1))
    expect(record).toMatchObject({ type: "review", reply: "Fine.\nRating: [[7]]" });
  expect(reviews).toHaveLength(4);
});

test("a run's folder is judged beside its results", async () => {
  const folder = await temporaryFolder();
  const file = await writeResults(folder, "run-1/results/mt-bench-generate.json", []);
  const { writeFile } = await import("node:fs/promises");
  await writeFile(file, JSON.stringify(answeredResult("tuned")));
  const server = await judgeServer(() => "[[7]]");
  const judging = await judge(options(server.endpoint, [join(folder, "run-1")]));
  expect(judging.methods?.[0]?.label).toBe("run-1");
  expect(judging.reviewsFile).toBe(join(folder, "run-1/judgings/mt-bench-single.jsonl"));
});

test("several judgements: an answer's score is their mean, and a missing one takes nothing from it", async () => {
  const folder = await temporaryFolder();
  const file = await writeResults(folder, "tuned.json", [answeredResult("tuned", twoQuestions.slice(0, 1))]);
  const seen = new Map<string, number>();
  const server = await judgeServer(({ prompt }) => {
    const turn = prompt.includes("<reply_2>") ? "2" : "1";
    const count = (seen.get(turn) ?? 0) + 1;
    seen.set(turn, count);
    if (turn === "2") return "No comment.";
    return count === 2 ? "" : `[[${count === 1 ? 4 : 8}]]`;
  });
  const judging = await judge({ ...options(server.endpoint, [file]), judgements: 3, concurrency: 1 });
  expect(judging.methods?.[0]?.overall).toEqual({ mean: 6, scored: 1, unscored: 1, missing: 4 });
  expect(judging.methods?.[0]?.turns["2"]).toEqual({ mean: null, scored: 0, unscored: 1, missing: 3 });
  expect(judging.missing).toEqual({ judgements: 4, reasons: { "empty-reply": 1, "no-rating": 3 } });
  expect(judging.reviews.map(({ reply }) => reply)).toEqual(["[[4]]", "", "[[8]]", ...Array(3).fill("No comment.")]);
});

/** Rates by the method whose answer it sees, and 1 more for the one that stands first. */
const fondOfTheFirst =
  (ratings: Readonly<Record<string, number>>) =>
  ({ prompt }: JudgeRequest): string => {
    const turn = prompt.includes("reply_2") ? 2 : 1;
    const [first, second] = ["A", "B"].map((name) => methodIn(prompt, `assistant_${name}_reply_${turn}`));
    return `Assistant A: [[${(ratings[first ?? ""] ?? 0) + 1}]]\nAssistant B: [[${ratings[second ?? ""] ?? 0}]]`;
  };

const judgePair = async (react: (request: JudgeRequest) => string, changes: Partial<JudgeOptionsInput> = {}) => {
  const folder = await temporaryFolder();
  const files = await Promise.all(
    ["moelora", "milora"].map((name) => writeResults(folder, `${name}.json`, [answeredResult(name)])),
  );
  const server = await judgeServer(react);
  const judging = await judge({ ...options(server.endpoint, files), mode: "pairwise", ...changes });
  return { judging, server };
};

test("pairwise: both orders are asked, and the judge's liking for the first place cancels out", async () => {
  const { judging, server } = await judgePair(fondOfTheFirst({ milora: 8, moelora: 5 }));
  // Two questions, two turns, two orders; the content says who stands where.
  expect(server.requests).toHaveLength(8);
  const orders = server.requests.map(({ prompt }) => {
    const turn = prompt.includes("reply_2") ? 2 : 1;
    const question = prompt.includes("asks 111") ? 111 : 81;
    const names = ["A", "B"].map((name) => methodIn(prompt, `assistant_${name}_reply_${turn}`));
    return [question, turn, ...names].join(" ");
  });
  const everyOrder = [81, 111].flatMap((question) =>
    [1, 2].flatMap((turn) => [`${question} ${turn} milora moelora`, `${question} ${turn} moelora milora`]),
  );
  expect(orders.toSorted()).toEqual(everyOrder.toSorted());
  const [pair] = judging.pairs ?? [];
  expect(pair?.methods).toEqual(["moelora", "milora"]);
  expect(pair?.overall).toEqual({
    means: { moelora: 5.5, milora: 8.5 },
    wins: { moelora: 0, milora: 4 },
    ties: 0,
    scored: 4,
    unscored: 0,
    missing: 0,
    unpaired: 0,
  });
  expect(pair?.positions).toEqual({ first: 7.5, second: 6.5 });
  expect(pair?.categories["math"]?.means).toEqual({ moelora: 5.5, milora: 8.5 });
  expect(judging.methods).toBeUndefined();
});

test("pairwise: equal methods tie, whatever the judge likes about a place", async () => {
  const { judging } = await judgePair(fondOfTheFirst({ milora: 6, moelora: 6 }));
  expect(judging.pairs?.[0]?.overall).toMatchObject({ ties: 4, wins: { moelora: 0, milora: 0 } });
});

test("pairwise: a judgement whose other order is missing does not count", async () => {
  const { judging } = await judgePair((request) => {
    const react = fondOfTheFirst({ milora: 8, moelora: 5 });
    const oneOrder = methodIn(request.prompt, "assistant_A_reply_1") === "milora";
    return request.prompt.includes("asks 81") && oneOrder ? "Assistant A: [[9]]" : react(request);
  });
  const { overall, categories } = judging.pairs?.[0] ?? {};
  expect(overall).toMatchObject({ means: { moelora: 5.5, milora: 8.5 }, scored: 2, unscored: 2 });
  expect(overall).toMatchObject({ missing: 2, unpaired: 2 });
  expect(categories?.["writing"]).toMatchObject({ means: { moelora: null, milora: null }, wins: { milora: 0 } });
  expect(judging.missing.reasons).toEqual({ "one-rating": 2 });
});

test("three methods give three pairs", async () => {
  const folder = await temporaryFolder();
  const files = await Promise.all(
    ["first", "second", "third"].map((name) => writeResults(folder, `${name}.json`, [answeredResult(name)])),
  );
  const server = await judgeServer(fondOfTheFirst({ first: 3, second: 5, third: 7 }));
  const judging: Judging = await judge({ ...options(server.endpoint, files), mode: "pairwise" });
  expect(judging.pairs?.map(({ methods }) => methods.join(" "))).toEqual([
    "first second",
    "first third",
    "second third",
  ]);
  expect(judging.pairs?.[1]?.overall.means).toEqual({ first: 3.5, third: 7.5 });
  expect(server.requests).toHaveLength(3 * 8);
});
