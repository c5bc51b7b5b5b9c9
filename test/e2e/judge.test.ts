import { execa } from "execa";
import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { answeredResult, writeResults } from "../support/answered-results.js";
import { jsonOf, programFile, runProgram } from "../support/cli.js";
import { judgeServer, type JudgeReaction } from "../support/judge-server.js";
import { temporaryFolder } from "../support/temporary-folder.js";

/** The program as people and programs call it, against a real server; no Python. */
const set = async (react: () => JudgeReaction) => {
  const folder = await temporaryFolder();
  const files = await Promise.all(
    ["moelora", "milora"].map((name) => writeResults(folder, `${name}.json`, [answeredResult(name)])),
  );
  const server = await judgeServer(react);
  const args = ["judge", ...files, "--endpoint", server.endpoint, "--judge-model", "judge", "--retries", "0"];
  return {
    server,
    args,
    files,
    run: (...more: readonly string[]) => runProgram([...args, ...more], { timeout: 60_000 }),
  };
};

test("a program that does not say --yes gets the cost and exit code 2, and nothing is sent", async () => {
  const { server, run } = await set(() => "[[7]]");
  const result = await run("--json", "--price-in", "2.5", "--price-out", "10");
  expect(result.exitCode).toBe(2);
  expect(result.stderr).toMatch(/The judge will get 8 requests, about \d+ input tokens, .* at most 0\.\d{4}/);
  expect(result.stderr).toContain("--yes");
  expect(jsonOf(result)).toMatchObject({ error: { code: "input/invalid-spec", path: "yes" } });
  expect(server.requests).toHaveLength(0);
});

test("pairwise figures as one JSON document; a field of the requests by --set", async () => {
  const { server, run } = await set(() => "Assistant A: [[7]]\nAssistant B: [[5]]");
  const result = await run("--json", "--yes", "--mode", "pairwise", "--set", "temperature=0.5");
  expect(result).toMatchObject({ exitCode: 0 });
  expect(jsonOf(result)).toMatchObject({
    mode: "pairwise",
    pairs: [{ methods: ["moelora", "milora"], overall: { means: { moelora: 6, milora: 6 }, ties: 4, missing: 0 } }],
  });
  expect(server.requests).toHaveLength(8);
  expect(server.requests[0]?.body).toMatchObject({ temperature: 0.5 });
});

// Windows has no limit on the size of a process's files.
test.skipIf(process.platform === "win32")(
  "a review that did not fit the disk is told, and only that one is lost",
  async () => {
    const reply = `${"Long. ".repeat(150)}[[7]]`;
    const { server, args, files } = await set(() => reply);
    // The system takes a part of the line that crosses the limit (4 KiB), then nothing.
    const limited = [
      "-c",
      'ulimit -f 4 && exec "$0" "$@"',
      "node",
      programFile,
      ...args,
      "--yes",
      "--concurrency",
      "1",
    ];
    const { exitCode, stderr } = await execa("bash", limited, { reject: false, timeout: 60_000 });
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(/Could not write .*\.jsonl \(EFBIG\)/);
    const reviewsFile = (files[0] ?? "").replace(/\.json$/, "-judged-single.jsonl");
    const whole = (await readFile(reviewsFile, "utf8")).split("\n").slice(0, -1);
    expect(whole.filter((line) => line.includes('"review"'))).toHaveLength(server.requests.length - 1);
    expect(server.requests.length).toBeLessThan(8);
  },
);

test("tables for people, with what is missing", async () => {
  let count = 0;
  const { run } = await set(() => {
    count += 1;
    return count === 3 ? "I'd rather not." : "Rating: [[6]]";
  });
  const result = await run("--yes");
  expect(result.exitCode).toBe(0);
  expect(result.stdout).toMatch(/moelora +6\.00 +6\.00 +6\.00/);
  expect(result.stdout).toContain("missing: 1 no-rating");
});

test("no rating at all is exit code 1, and a judge that answers with a web page 2", async () => {
  const silent = await set(() => "");
  expect((await silent.run("--yes")).exitCode).toBe(1);
  const page = await set(() => ({ status: 200, headers: { "content-type": "text/html" }, body: "<!doctype html>Hi" }));
  const result = await page.run("--yes");
  expect(result.exitCode).toBe(2);
  expect(result.stderr).toContain('answered 200 OK with text/html: "<!doctype html>Hi", which is no JSON');
  expect(page.server.requests).toHaveLength(1);
});
