import { appendFile, readdir, readFile, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { judge } from "../../../../ts/evaluate/judge/judge.js";
import type { JudgeOptionsInput } from "../../../../ts/evaluate/judge/options.js";
import { answeredResult, writeResults } from "../../../support/answered-results.js";
import { type JudgeReaction, type JudgeRequest, judgeServer, silence } from "../../../support/judge-server.js";
import { temporaryFolder } from "../../../support/temporary-folder.js";
import { rejectionOf } from "../../../support/thrown.js";

const set = async (react: (request: JudgeRequest) => JudgeReaction, changes: Partial<JudgeOptionsInput> = {}) => {
  const folder = await temporaryFolder();
  const file = await writeResults(folder, "tuned.json", [answeredResult("tuned")]);
  const server = await judgeServer(react);
  const out = join(folder, "reviews.jsonl");
  const options = { results: [file], endpoint: server.endpoint, judgeModel: "judge", retries: 0, concurrency: 1, out };
  return { folder, file, out, server, options: { ...options, ...changes } };
};

test("what was judged is not bought again, and what failed is asked again", async () => {
  const { options, server } = await set(({ before, prompt }) => {
    const bad = before < 4 && prompt.includes("asks 111 then");
    return bad ? { status: 500 } : `Rating: [[${before < 4 ? 6 : 9}]]`;
  });
  const first = await judge(options);
  expect(first.methods?.[0]?.overall).toEqual({ mean: 6, scored: 3, unscored: 1, missing: 1 });
  const second = await judge(options);
  expect(server.requests).toHaveLength(5);
  expect(server.requests[4]?.prompt).toContain("asks 111 then");
  expect(second.methods?.[0]?.overall).toEqual({ mean: 6.75, scored: 4, unscored: 0, missing: 0 });
  expect(second.spent.requests).toBe(1);
  const third = await judge(options);
  expect(server.requests).toHaveLength(5);
  expect(third.methods).toEqual(second.methods);
  expect(third.reviews).toEqual(second.reviews);
});

test("an unreadable judgement was made too: it is kept, and not bought again", async () => {
  const { options, server } = await set(() => "Hm.");
  await judge(options);
  const again = await judge(options);
  expect(server.requests).toHaveLength(4);
  expect(again.missing).toEqual({ judgements: 4, reasons: { "no-rating": 4 } });
});

test("more judgements of the same answers buy only the new ones, from another address too", async () => {
  const { options, server } = await set(() => "[[6]]");
  await judge(options);
  const other = await judgeServer(() => "[[8]]");
  const judging = await judge({ ...options, judgements: 2, endpoint: other.endpoint });
  expect([server.requests.length, other.requests.length]).toEqual([4, 4]);
  expect(judging.methods?.[0]?.overall.mean).toBe(7);
});

test("an abort keeps what was judged, ends the request under way, and the same call goes on", async () => {
  const controller = new AbortController();
  const { options, server, out } = await set(({ before }) => {
    if (before !== 2) return "[[7]]";
    controller.abort();
    return silence;
  });
  const error = await rejectionOf(judge(options, { signal: controller.signal }), "cancelled");
  expect(error.message).toContain("2 of 4 judgements were made and are kept");
  expect((await readFile(out, "utf8")).trimEnd().split("\n")).toHaveLength(3);
  const judging = await judge(options);
  expect(server.requests).toHaveLength(5);
  expect(judging.methods?.[0]?.overall).toEqual({ mean: 7, scored: 4, unscored: 0, missing: 0 });
});

test("two can't judge into the same file at once; the second sends nothing", async () => {
  const controller = new AbortController();
  const { options, server, out, folder } = await set(({ before }) => {
    return before === 0 ? silence : "[[7]]";
  });
  const first = rejectionOf(judge(options, { signal: controller.signal }), "cancelled");
  await vi.waitFor(() => expect(server.requests).toHaveLength(1));
  const error = await rejectionOf(judge(options), "run/exists");
  expect(error.message).toContain(`process ${process.pid} `);
  expect(error.hint).toContain("--out");
  expect(server.requests).toHaveLength(1);
  controller.abort();
  await first;
  expect(await readdir(folder)).toEqual(["reviews.jsonl", "tuned.json"]);
  expect((await judge(options)).methods?.[0]?.overall.scored).toBe(4);
  expect(await readdir(folder)).toEqual(["reviews.json", "reviews.jsonl", "tuned.json"]);
  expect((await readFile(out, "utf8")).trimEnd().split("\n")).toHaveLength(5);
});

test("a file is held while its cost is asked about, and free after a no or an error", async () => {
  const { options, folder } = await set(() => "[[7]]");
  const confirm = async (): Promise<boolean> => {
    await rejectionOf(judge(options), "run/exists");
    return false;
  };
  await rejectionOf(judge(options, { confirm }), "cancelled");
  expect(await readdir(folder)).toEqual(["tuned.json"]);
  await judge(options);
  await rejectionOf(judge({ ...options, judgeModel: "other" }), "run/not-resumable");
  expect((await judge(options)).spent.requests).toBe(0);
});

test("half a line of a killed run is cut off, and its judgement made again", async () => {
  const { options, server, out } = await set(() => "[[7]]");
  await judge(options);
  await truncate(out, (await readFile(out)).length - 40);
  const judging = await judge(options);
  expect(server.requests).toHaveLength(5);
  expect(judging.methods?.[0]?.overall.scored).toBe(4);
  const lines = (await readFile(out, "utf8")).trimEnd().split("\n");
  expect(lines.map((line) => Reflect.get(Object(JSON.parse(line)), "type"))).toEqual([
    "judging",
    ...Array(4).fill("review"),
  ]);
});

test.each<readonly [string, Partial<JudgeOptionsInput>, string]>([
  ["another judge", { judgeModel: "other" }, 'judgeModel "judge"'],
  ["another mode", { mode: "pairwise" }, 'mode "single"'],
  ["other settings of the request", { request: { temperature: 1 } }, '"temperature":0'],
])("a file of reviews by %s is refused, untouched", async (_name, changes, told) => {
  const { options, server, out, folder } = await set(() => "[[7]]");
  await judge(options);
  const before = await readFile(out, "utf8");
  const second = await writeResults(folder, "second.json", [answeredResult("second")]);
  const results = changes.mode === "pairwise" ? [...options.results, second] : options.results;
  const error = await rejectionOf(judge({ ...options, ...changes, results }), "run/not-resumable");
  expect(error.message).toContain(told);
  expect(await readFile(out, "utf8")).toBe(before);
  expect(server.requests).toHaveLength(4);
});

test("a file of reviews of other answers is refused, untouched", async () => {
  const { options, server, out, folder } = await set(() => "[[7]]");
  await judge(options);
  const before = await readFile(out, "utf8");
  await writeResults(folder, "tuned.json", [answeredResult("another")]);
  await rejectionOf(judge(options), "run/not-resumable");
  expect(await readFile(out, "utf8")).toBe(before);
  expect(server.requests).toHaveLength(4);
});

test.each(["no file of ours", "no file of ours\nat all\n", '{"time": 1}\n', "[]\n"])(
  "a file that holds %j is not written to",
  async (text) => {
    const { options, server, out } = await set(() => "[[7]]");
    await writeFile(out, text);
    const error = await judge(options).catch((fault: unknown) => fault);
    expect(error).toMatchObject({ file: out });
    expect(await readFile(out, "utf8")).toBe(text);
    expect(server.requests).toHaveLength(0);
  },
);

test("a line that was changed by another hand is named", async () => {
  const { options, out } = await set(() => "[[7]]");
  await judge(options);
  await appendFile(out, "not JSON\n");
  const error = await rejectionOf(judge(options), "data/bad-row");
  expect(error).toMatchObject({ file: out, line: 6 });
});
