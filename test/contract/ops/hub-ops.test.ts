import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { BackendEvent, OpInput } from "../../../ts/backend/backend.js";
import { openBackend, type PythonBackend } from "../../../ts/bridge/index.js";
import type { Hub } from "../../../ts/data/hub.js";
import { loadTrainingData } from "../../../ts/train/training-data.js";
import { dataSchema } from "../../../ts/spec/data.js";
import { taskByName } from "../../../ts/tasks/registry.js";
import { loadSplit } from "../../../ts/tasks/load-split.js";
import { failureOf, testPython } from "../../fixtures/bridge/support.js";

/** `fetchHubRows` through the bridge and the library `datasets`, on a hub on localhost (test/fixtures/python). */

const commit = "0123456789abcdef0123456789abcdef01234567";
const config = (name: string, splits: readonly string[]): string =>
  `- config_name: ${name}\n  data_files:\n${splits.map((split) => `  - split: ${split}\n    path: ${name}/${split}.parquet\n`).join("")}`;
const arcRow = (question: string, answerKey: string) => ({
  id: question,
  question,
  choices: { text: ["a belt", "a ring"], label: ["A", "B"] },
  answerKey,
});

const repositories = {
  "tiny/arc": {
    commit,
    files: {
      "README.md": `---\nconfigs:\n${config("ARC-Easy", ["train", "test"])}${config("other", ["train"])}---\n`,
      "ARC-Easy/train.parquet": [arcRow("What floats?", "A"), arcRow("What sinks?", "B")],
      "ARC-Easy/test.parquet": [arcRow("What rings?", "B")],
      "other/train.parquet": [{ blob: 1.5 }],
    },
  },
  "tiny/pairs": {
    commit,
    files: { "train.jsonl": '{"ask": "2 + 2?", "reply": "4", "n": 1}\n{"ask": "3 + 3?", "reply": "6", "n": 2}\n' },
  },
  "tiny/broken": { commit, files: { "train.jsonl": '{"ask": "2 + 2?"' } },
  "tiny/empty": { commit, files: { "README.md": "nothing\n" } },
  "tiny/slow": { commit, delay: 60, files: { "train.jsonl": '{"ask": "2 + 2?"}\n' } },
  "tiny/down": { commit, status: 503, files: {} },
};

const hasDatasets =
  spawnSync(
    testPython(),
    ["-c", "import importlib.util, sys; sys.exit(importlib.util.find_spec('datasets') is None)"],
    { timeout: 120_000 },
  ).status === 0;
const note = hasDatasets ? "" : " (skipped: the Python package datasets, the extra hub, is missing)";

let backend: PythonBackend;
let server: ChildProcess;
let folder: string;

const startHub = async (): Promise<string> => {
  const description = join(folder, "repositories.json");
  await writeFile(description, JSON.stringify(repositories));
  const program = fileURLToPath(new URL("../../fixtures/python/fake_hub.py", import.meta.url));
  server = spawn(testPython(), [program, description], { stdio: ["pipe", "pipe", "inherit"] });
  const lines = server.stdout === null ? [] : createInterface({ input: server.stdout });
  for await (const port of lines) return `http://127.0.0.1:${port}`;
  throw new Error("The hub did not start.");
};

beforeAll(async () => {
  if (!hasDatasets) return;
  folder = await mkdtemp(join(tmpdir(), "milora-hub-"));
  const endpoint = await startHub();
  const env = { HF_ENDPOINT: endpoint, HF_HOME: join(folder, "hf"), HF_HUB_OFFLINE: "0" };
  backend = await openBackend({ python: testPython(), env });
}, 180_000);
afterAll(async () => {
  if (!hasDatasets) return;
  await backend?.close();
  if (server !== undefined && server.exitCode === null) {
    server.stdin?.end();
    await once(server, "exit");
  }
  await rm(folder, { recursive: true, force: true });
});

const asked = { id: "tiny/arc", config: "ARC-Easy", split: "train", columns: ["question"] };
const fetchRows = (changes: Partial<OpInput<"fetchHubRows">>) =>
  backend.call("fetchHubRows", { ...asked, file: join(folder, "rows.jsonl"), ...changes });

describe.skipIf(!hasDatasets)(`rows of the hub${note}`, () => {
  test(
    "columns of a split are written, the commit is told, and so is the progress",
    { timeout: 120_000 },
    async () => {
      const events: BackendEvent[] = [];
      const file = join(folder, "train.jsonl");
      const columns = ["question", "choices", "answerKey"];
      const fetched = await backend.call(
        "fetchHubRows",
        { ...asked, columns, file },
        { onEvent: (event) => events.push(event) },
      );
      expect(fetched).toMatchObject({ rows: 2, commit });
      const [first = ""] = (await readFile(file, "utf8")).split("\n");
      expect(JSON.parse(first)).toEqual({
        question: "What floats?",
        choices: { text: ["a belt", "a ring"], label: ["A", "B"] },
        answerKey: "A",
      });
      const stages = events.flatMap((event) => (event.type === "progress" ? [event.stage] : []));
      expect(new Set(stages)).toEqual(
        new Set(["fetching tiny/arc (ARC-Easy, train)", "writing tiny/arc (ARC-Easy, train)"]),
      );
      const pinned = { id: "tiny/pairs", config: null, revision: commit, columns: ["reply", "n"] };
      expect(await fetchRows(pinned)).toMatchObject({ rows: 2, commit });
      expect((await readFile(join(folder, "rows.jsonl"), "utf8")).split("\n")[1]).toBe('{"reply": "6", "n": 2}');
    },
  );

  test("each fault has its own error", { timeout: 120_000 }, async () => {
    const wrong = async (changes: Parameters<typeof fetchRows>[0]) => {
      const { code, message, path, allowed } = await failureOf(fetchRows(changes));
      return { code, message, path, allowed };
    };
    expect(await wrong({ id: "no/such" })).toMatchObject({
      code: "data/not-found",
      message: expect.stringContaining("no/such"),
    });
    expect(await wrong({ id: "not an id!" })).toMatchObject({ code: "input/invalid-spec" });
    expect(await wrong({ revision: "v9" })).toMatchObject({ code: "input/unknown-name", path: "revision" });
    expect(await wrong({ config: "nope" })).toMatchObject({
      code: "input/unknown-name",
      path: "config",
      allowed: "ARC-Easy, other",
    });
    expect(await wrong({ config: null })).toMatchObject({ code: "input/unknown-name", path: "config" });
    expect(await wrong({ split: "dev" })).toMatchObject({
      code: "input/unknown-name",
      path: "split",
      allowed: "train, test",
    });
    expect(await wrong({ columns: ["text"] })).toMatchObject({
      code: "input/unknown-name",
      path: "columns",
      allowed: "id, question, choices, answerKey",
    });
    expect(await wrong({ id: "tiny/down" })).toMatchObject({ code: "data/unreachable" });
    expect(await wrong({ id: "tiny/broken", config: null })).toMatchObject({ code: "data/unreadable" });
    expect(await wrong({ id: "tiny/empty", config: null })).toMatchObject({ code: "data/empty" });
    expect((await fetchRows({})).rows).toBe(2);
  });

  test("a fetch that waits for the hub is cancelled at once", { timeout: 60_000 }, async () => {
    const controller = new AbortController();
    const started = performance.now();
    const fetching = backend.call(
      "fetchHubRows",
      { ...asked, id: "tiny/slow", config: null, file: join(folder, "slow.jsonl") },
      { signal: controller.signal, onEvent: () => setTimeout(() => controller.abort(), 500) },
    );
    expect((await failureOf(fetching)).code).toBe("cancelled");
    expect(performance.now() - started).toBeLessThan(30_000);
    expect((await fetchRows({})).rows).toBe(2);
  });

  test("a task and the user's own data come from there into training and evaluation rows", async () => {
    const hub: Hub = {
      home: join(folder, "home"),
      fetch: ({ columns, ...part }: Parameters<Hub["fetch"]>[0]) =>
        backend.call("fetchHubRows", { ...part, columns: [...columns] }),
    };
    const choice = { id: "tiny/arc", revision: commit };
    const { examples, source } = await loadSplit(taskByName("arc-easy"), { split: "test", hub, choice });
    expect(examples).toMatchObject([{ question: "What rings?", choices: ["a belt", "a ring"], answer: "answer2" }]);
    expect(source?.splits).toMatchObject([
      { hub: "tiny/arc", config: "ARC-Easy", split: "test", revision: commit, commit },
    ]);
    const own = dataSchema.parse({
      hub: "tiny/pairs",
      columns: { prompt: "ask", answer: "reply" },
      dev: { split: 0.5 },
    });
    const { train, dev } = await loadTrainingData(own, 0, hub);
    expect([...train, ...dev].map((row) => ("prompt" in row ? row.answer : "")).toSorted()).toEqual(["4", "6"]);
  });
});
