import { existsSync } from "node:fs";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { hubFolder, hubRecordText, type HubUnit } from "../../../ts/data/hub.js";
import { readHubRows } from "../../../ts/data/hub-rows.js";
import { cacheFolder, createFailingHub, createFakeHub, fakeCommit, unreachable } from "../../support/fake-hub.js";
import { rejectionOf } from "../../support/thrown.js";

const part = { id: "tiny/words", config: null, split: "train", revision: "main", columns: ["word"] };

const unit: HubUnit = {
  name: "words",
  parts: [part],
  normalise: ([rows = []]) => ({
    files: { "in/words.txt": rows.map(({ item, value }) => `${item} ${JSON.stringify(value)}\n`).join("") },
    dropped: 1,
  }),
};

const words = {
  "tiny/words default train": [
    { word: "one", length: 3 },
    { word: "two", length: 3 },
  ],
};

test("rows are fetched and normalised once; afterwards the cache is read and nothing is asked", async () => {
  const hub = await createFakeHub(words);
  const { folder, record } = await hubFolder(hub, unit);
  expect(await readFile(join(folder, "in/words.txt"), "utf8")).toBe('0 {"word":"one"}\n1 {"word":"two"}\n');
  expect((await readdir(folder)).toSorted()).toEqual(["in", "source.json"]);
  expect(record).toMatchObject({
    splits: [{ hub: "tiny/words", config: null, split: "train", revision: "main", commit: fakeCommit, rows: 2 }],
    dropped: 1,
    datasets: "5.2.0",
  });
  expect(record.files[0]?.sha256).toMatch(/^[\da-f]{64}$/);
  expect(JSON.parse(await readFile(join(folder, "source.json"), "utf8"))).toEqual(record);
  const offline = await createFailingHub(unreachable, hub.home);
  expect(await hubFolder(offline, unit)).toEqual({ folder, record });
  expect(await readdir(cacheFolder(hub.home))).toHaveLength(1);
});

test("another revision, config or split is another folder", async () => {
  const hub = await createFakeHub({ ...words, "tiny/words other train": [{ word: "x" }] });
  await hubFolder(hub, unit);
  await hubFolder(hub, { ...unit, parts: [{ ...part, revision: fakeCommit }] });
  await hubFolder(hub, { ...unit, parts: [{ ...part, config: "other" }] });
  expect(hub.asked).toHaveLength(3);
  expect(await readdir(cacheFolder(hub.home))).toHaveLength(3);
});

test("a fault while fetching or normalising leaves nothing behind", async () => {
  const hub = await createFakeHub(words);
  await rejectionOf(hubFolder(hub, { ...unit, parts: [{ ...part, split: "none" }] }), "data/not-found");
  const bad = { ...unit, normalise: () => ({ files: { "x.txt": "x" }, dropped: Number.NaN }) };
  await rejectionOf(hubFolder(hub, bad), "input/invalid-spec");
  expect((await readdir(cacheFolder(hub.home))).filter((name) => name.endsWith(".tmp"))).toEqual([]);
});

test("two processes that fetch the same at once both get it", async () => {
  const hub = await createFakeHub(words);
  const [one, other] = await Promise.all([hubFolder(hub, unit), hubFolder(hub, unit)]);
  expect(one.folder).toBe(other.folder);
  expect(one.record).toEqual(other.record);
  expect(hub.asked).toHaveLength(2);
  expect(await readdir(cacheFolder(hub.home))).toHaveLength(1);
});

test("cached rows that were changed are refused, with what to do", async () => {
  const hub = await createFakeHub(words);
  const { folder } = await hubFolder(hub, unit);
  await writeFile(join(folder, "in/words.txt"), "changed");
  const error = await rejectionOf(hubFolder(hub, unit), "data/bad-row");
  expect(error).toMatchObject({ file: join(folder, "in/words.txt"), hint: expect.stringContaining(folder) });
});

test("a cache folder that can't be made is told", async () => {
  const hub = await createFakeHub(words);
  await writeFile(cacheFolder(hub.home), "a file");
  expect((await rejectionOf(hubFolder(hub, unit), "run/disk")).hint).toContain("MILORA_HOME");
});

const own = { hub: "me/pairs", revision: "v1", columns: { prompt: "ask", answer: "reply" } };

test("the user's own data is read by the names of its columns", async () => {
  const hub = await createFakeHub({ "me/pairs default train": [{ ask: "2 + 2?", reply: "4", id: 7 }] });
  const { rows, record } = await readHubRows(hub, own, "train");
  expect(rows).toEqual([{ prompt: "2 + 2?", answer: "4" }]);
  expect(hub.asked).toEqual([
    { id: "me/pairs", config: null, split: "train", revision: "v1", columns: ["ask", "reply"] },
  ]);
  expect(hubRecordText(record)).toMatch(/^the hub: me\/pairs \(train\) at commit 0123456789ab, 1 row; fetched \d{4}-/);
});

test("a bad row is told by its item and column, and nothing is cached", async () => {
  const rows = [
    { ask: "a", reply: "b" },
    { ask: "c", reply: 4 },
    { ask: " ", reply: "d" },
  ];
  const hub = await createFakeHub({ "me/pairs default train": rows });
  const error = await rejectionOf(readHubRows(hub, own, "train"), "data/bad-row");
  expect(error.problems).toEqual([
    "item 1: reply: found 4, allowed: answer must be text",
    'item 2: ask: found " ", allowed: prompt must not be empty',
  ]);
  expect(error.message).toContain("me/pairs (train)");
  const empty = await createFakeHub({ "me/pairs default train": [] });
  await rejectionOf(readHubRows(empty, own, "train"), "data/empty");
  expect(existsSync(cacheFolder(empty.home))).toBe(true);
  expect(await readdir(cacheFolder(empty.home))).toEqual([]);
});
