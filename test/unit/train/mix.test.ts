import { join } from "node:path";
import { expect, test } from "vitest";
import { dataSchema } from "../../../ts/spec/data.js";
import { parseWith } from "../../../ts/spec/parse.js";
import { runSchema } from "../../../ts/spec/run.js";
import { apportion } from "../../../ts/train/mix.js";
import { sourceName } from "../../../ts/train/row-source.js";
import { loadTrainingData } from "../../../ts/train/training-data.js";
import { createFakeHub, fakeCommit } from "../../support/fake-hub.js";
import { createFakeTraining } from "../../support/fake-training.js";
import { recordOf, startFineTuning } from "../../support/fine-tuning.js";
import { dataFolder, madeUpData } from "../../support/made-up-tasks.js";
import { temporaryFolder } from "../../support/temporary-folder.js";
import { errorOf } from "../../support/thrown.js";

const lines = (name: string, count: number): string =>
  Array.from({ length: count }, (_, row) => `${JSON.stringify({ prompt: `${name} ${row}`, answer: "x" })}\n`).join("");

/** Files of 100 and 20 rows, of which 10 and 2 are split off. */
const twoFiles = async (): Promise<{ readonly big: string; readonly small: string }> => {
  const dir = await dataFolder({ "big.jsonl": lines("big", 100), "small.jsonl": lines("small", 20) });
  return { big: join(dir, "big.jsonl"), small: join(dir, "small.jsonl") };
};

const parsed = (data: unknown) => parseWith(dataSchema, data, { what: "The data" });

const countBySource = (
  rows: readonly { readonly source?: string | undefined }[],
): Readonly<Record<string, number>> => {
  const counts: Record<string, number> = {};
  for (const { source = "none" } of rows) counts[source] = (counts[source] ?? 0) + 1;
  return counts;
};

test("parts add up, in proportion, and the largest remainders are rounded up", () => {
  expect(apportion(10, [1, 1, 1])).toEqual([4, 3, 3]);
  expect(apportion(100, [90, 18])).toEqual([83, 17]);
  expect(apportion(7, [0.5, 0.25, 0.25])).toEqual([3, 2, 2]);
  for (const total of [1, 9, 1000]) {
    const parts = apportion(total, [3, 5, 11, 0.1]);
    expect(parts.reduce((sum, part) => sum + part, 0)).toBe(total);
  }
});

test("a mix by rows has every row once, in one order of the seed, and says where each is from", async () => {
  const { big, small } = await twoFiles();
  const data = parsed({ mix: [{ train: big }, { train: small }] });
  const mixed = await loadTrainingData(data, 3);
  expect(countBySource(mixed.train)).toEqual({ [big]: 90, [small]: 18 });
  expect(countBySource(mixed.dev)).toEqual({ [big]: 10, [small]: 2 });
  const texts = [...mixed.train, ...mixed.dev].map((row) => JSON.stringify(row));
  expect(new Set(texts).size).toBe(120);
  const firsts = mixed.train.slice(0, 30).map(({ source }) => source);
  expect(new Set(firsts).size).toBe(2);
  expect(await loadTrainingData(data, 3)).toEqual(mixed);
  expect((await loadTrainingData(data, 4)).train).not.toEqual(mixed.train);
  expect(mixed.warnings[0]).toBe(
    `A mix by rows of 108 training rows: ${big} 90 rows (83.3 %) of its 90; ${small} 18 rows (16.7 %) of its 18.`,
  );
  expect(mixed.devSource).toBe(
    `${big}: 10 of 100 training rows split off by seed 3; ${small}: 2 of 20 training rows split off by seed 3`,
  );
});

test("fewer rows are in proportion to the sources; more than there are is all of them", async () => {
  const { big, small } = await twoFiles();
  const of = async (rows: number) => {
    const mixed = await loadTrainingData(parsed({ mix: [{ train: big }, { train: small }], rows }), 0);
    expect(new Set(mixed.train.map((row) => JSON.stringify(row))).size).toBe(mixed.train.length);
    return countBySource(mixed.train);
  };
  expect(await of(54)).toEqual({ [big]: 45, [small]: 9 });
  expect(await of(5000)).toEqual({ [big]: 90, [small]: 18 });
});

test("by temperature the shares are n^(1/T); a small source repeats, as often each row, and that is told", async () => {
  const { big, small } = await twoFiles();
  const by = { mix: [{ train: big }, { train: small }], by: "temperature" };
  const total = Math.sqrt(90) + Math.sqrt(18);
  const half = await loadTrainingData(parsed({ ...by, rows: 1000 }), 0);
  expect(countBySource(half.train)[small]).toBe(Math.round((1000 * Math.sqrt(18)) / total));
  const even = await loadTrainingData(parsed({ ...by, temperature: 1e6, rows: 108 }), 0);
  expect(countBySource(even.train)).toEqual({ [big]: 54, [small]: 54 });
  const times = new Map<string, number>();
  for (const row of even.train.filter(({ source }) => source === small))
    times.set(JSON.stringify(row), (times.get(JSON.stringify(row)) ?? 0) + 1);
  expect([...times.values()]).toEqual(Array(18).fill(3));
  expect(even.warnings[0]).toContain(`${small} 54 rows (50.0 %) of its 18, each 3 times`);
  const alike = await loadTrainingData(parsed({ ...by, temperature: 1 }), 0);
  expect(countBySource(alike.train)).toEqual({ [big]: 90, [small]: 18 });
});

test("each source keeps its own dev set, or the share that it or the mix names", async () => {
  const row = (question: string) =>
    JSON.stringify({ question, options: ["A)1", "B)2"], rationale: "Answer: A", correct: "A" });
  const dir = await dataFolder({
    "aqua/train.jsonl": `${row("q")}\n${row("r")}`,
    "aqua/dev.jsonl": row("s"),
    "one.jsonl": lines("one", 40),
    "two.jsonl": lines("two", 40),
    "watched.jsonl": lines("watched", 3),
  });
  const [one, two] = [join(dir, "one.jsonl"), join(dir, "two.jsonl")];
  const mix = [
    { task: "aqua", dir },
    { train: one },
    { train: two, dev: { split: 0.25 } },
    { train: one, dev: join(dir, "watched.jsonl") },
  ];
  const { train, dev, warnings } = await loadTrainingData(parsed({ mix, dev: { split: 0.5 } }), 0);
  expect(countBySource(dev)).toEqual({ aqua: 1, [one]: 20, [two]: 10, [`${one} (2)`]: 3 });
  expect(countBySource(train)).toEqual({ aqua: 2, [one]: 20, [two]: 30, [`${one} (2)`]: 40 });
  expect(warnings).toHaveLength(1);
});

test("a source for the chat template beside a plain one becomes rows of messages", async () => {
  const { big, small } = await twoFiles();
  const mixed = await loadTrainingData(parsed({ mix: [{ train: big }, { train: small, format: "chat" }] }), 0);
  expect(mixed.format).toBe("plain");
  const chat = mixed.train.filter((row) => "messages" in row);
  expect(countBySource(chat)).toEqual({ [small]: 18 });
  const [{ messages } = { messages: [] }] = chat;
  expect(messages.map(({ role }) => role)).toEqual(["user", "assistant"]);
  const both = await loadTrainingData(
    parsed({
      mix: [
        { train: big, format: "chat" },
        { train: small, format: "chat" },
      ],
    }),
    0,
  );
  expect(both.format).toBe("chat");
  expect(both.train.every((row) => "prompt" in row)).toBe(true);
});

test("what a mix may not be is told with its place", () => {
  const problems = (data: unknown) => errorOf(() => parsed(data), "input/invalid-spec").problems.join("\n");
  expect(problems({ mix: [{ task: "boolq" }] })).toContain("mix");
  expect(problems({ mix: [{ task: "boolq" }, { trian: "x" }] })).toContain("mix[1]");
  expect(problems({ mix: [{ task: "boolq" }, { train: "x" }], by: "temperature", temperature: 0 })).toContain(
    "temperature",
  );
  expect(problems({ hub: "a/b/c", columns: { prompt: "p", answer: "a" } })).toContain("owner/name");
});

test("a run's record tells the shares of its mix, its sources on the hub, and keeps the rows' sources", async () => {
  const hub = await createFakeHub({
    "me/pairs default train": Array.from({ length: 10 }, (_, row) => ({ ask: `q${row}`, reply: "r" })),
    "me/pairs default held": [{ ask: "h", reply: "r" }],
  });
  const own = { hub: "me/pairs", columns: { prompt: "ask", answer: "reply" }, devSplit: "held" };
  const data = { mix: [own, { task: "arc-easy", dir: await madeUpData() }] };
  const out = join(await temporaryFolder(), "run");
  const spec = runSchema.parse({
    model: "test/llama",
    method: { kind: "milora", rank: 2 },
    data,
    train: { batchSize: 1, maxSteps: 1 },
  });
  const { train, dev } = await loadTrainingData(spec.data, 0, hub);
  expect(countBySource(train)).toEqual({ "me/pairs": 10, "arc-easy": 1 });
  expect(countBySource(dev)).toEqual({ "me/pairs": 1, "arc-easy": 1 });
  await startFineTuning({ backend: createFakeTraining(), spec, out, hub }).result;
  const warnings = recordOf(out).flatMap((event) => (event.type === "warning" ? [event.message] : []));
  const place = `me/pairs: The training rows come from the hub: me/pairs (train) at commit ${fakeCommit.slice(0, 12)}`;
  expect(warnings[0]).toContain("A mix by rows of 11 training rows: me/pairs 10 rows (90.9 %)");
  expect(warnings.some((text) => text.startsWith(`${place}, 10 rows`))).toBe(true);
  expect(warnings.some((text) => text.startsWith("arc-easy: 2 of the 2 test rows"))).toBe(true);
  expect(sourceName(spec.data)).toBe("the mix of me/pairs, arc-easy");
});
