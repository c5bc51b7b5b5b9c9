import { describe, expect, test } from "vitest";
import {
  generateSmartHome,
  isTestPair,
  isTestValue,
  type SmartHomeCall,
  type SmartHomeExample,
} from "../../../ts/tasks/smart-home/generate.js";
import { callKinds } from "../../../ts/tasks/smart-home/kinds.js";
import { smartHome } from "../../../ts/tasks/smart-home/task.js";
import { type Slot, slots, type SlotName } from "../../../ts/tasks/smart-home/values.js";

const slotNames = Object.keys(slots).filter((name): name is SlotName => name in slots);
const slotOf = (name: SlotName): Slot => slots[name];
const seeds = [0, 1, 2, 3];

const sets = seeds.map((seed) => ({
  train: generateSmartHome({ split: "train", rows: 3000, seed }),
  test: generateSmartHome({ split: "test", rows: 300, seed }),
}));
const trainCalls = new Set(
  sets.flatMap(({ train }) => train.flatMap(({ calls }) => calls.map((c) => JSON.stringify(c)))),
);
const testExamples = sets.flatMap(({ test }) => test);

describe("the grammar", () => {
  test("every phrasing names every slot of its kind once and no other", () => {
    for (const kind of callKinds) {
      for (const phrasing of kind.phrasings) {
        const named = [...phrasing.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
        expect(new Set(named)).toEqual(new Set(Object.values(kind.fields)));
        expect(named).toHaveLength(Object.keys(kind.fields).length);
      }
    }
  });

  test("an open slot keeps some values for the test, and most for training", () => {
    for (const name of slotNames.filter((slot) => slotOf(slot).open)) {
      const { values } = slotOf(name);
      const kept = values.filter((value) => isTestValue(name, value)).length;
      expect(kept, name).toBeGreaterThanOrEqual(2);
      expect(kept / values.length, name).toBeLessThan(0.4);
    }
  });

  test("every kind joins others in training, and about a quarter of the pairs is the test's", () => {
    const pairs = callKinds.flatMap((first) => callKinds.map((second) => isTestPair(first, second)));
    expect(pairs.filter(Boolean).length / pairs.length).toBeGreaterThan(0.15);
    expect(pairs.filter(Boolean).length / pairs.length).toBeLessThan(0.35);
    for (const first of callKinds) {
      expect(callKinds.some((second) => second !== first && !isTestPair(first, second))).toBe(true);
    }
  });
});

describe("the two splits", () => {
  test("are the same for a seed and different for another", () => {
    const options = { split: "train", rows: 50, seed: 9 } as const;
    expect(generateSmartHome(options)).toEqual(generateSmartHome(options));
    expect(generateSmartHome({ ...options, seed: 10 })).not.toEqual(generateSmartHome(options));
  });

  test("hold the rows that were asked for, all different, about half of them pairs", () => {
    for (const { train, test: held } of sets) {
      expect(new Set(train.map(({ request }) => request)).size).toBe(3000);
      expect(new Set(held.map(({ request }) => request)).size).toBe(300);
    }
    for (const rows of [testExamples, sets.flatMap(({ train }) => train)]) {
      const pairs = rows.filter(({ calls }) => calls.length === 2).length / rows.length;
      // Single requests repeat more often, and repeats are drawn again.
      expect(pairs).toBeGreaterThan(0.45);
      expect(pairs).toBeLessThan(0.6);
    }
  });

  test("share no request, whatever the seeds", () => {
    const trained = new Set(sets.flatMap(({ train }) => train.map(({ request }) => request)));
    expect(testExamples.filter(({ request }) => trained.has(request))).toEqual([]);
  });

  test("a test call of two arguments never occurs in training in any wording, whatever the seeds", () => {
    const calls = testExamples.flatMap((example) => example.calls).filter((call) => Object.keys(call).length === 3);
    expect(calls.length).toBeGreaterThan(500);
    const seen = calls.filter((call) => trainCalls.has(JSON.stringify(call)));
    expect(seen).toEqual([]);
  });

  test("two kinds that a test request joins are never joined in that order in training, whatever the seeds", () => {
    // Blinds by name (open, close) and by number are two kinds of the same call; numbers run from 2 to 98.
    const kindOf = (call: SmartHomeCall): string =>
      [...Object.keys(call), call["call"], call["percent"] === 0 || call["percent"] === 100].join(" ");
    const joins = (rows: readonly SmartHomeExample[]): ReadonlySet<string> =>
      new Set(rows.filter(({ calls }) => calls.length === 2).map(({ calls }) => calls.map(kindOf).join(" + ")));
    const inTest = joins(testExamples);
    const inTraining = joins(sets.flatMap(({ train }) => train));
    expect(inTest.size).toBeGreaterThan(20);
    expect(inTraining.size).toBeGreaterThan(100);
    expect([...inTest].filter((join) => inTraining.has(join))).toEqual([]);
  });

  test("values kept for the test occur in the test and never in training", () => {
    const values = (rows: readonly SmartHomeExample[]) =>
      new Set(rows.flatMap(({ calls }) => calls.flatMap(Object.values)));
    const inTest = values(testExamples);
    const inTraining = values(sets.flatMap(({ train }) => train));
    for (const name of ["room", "genre", "scene", "label"] as const) {
      const kept = slotOf(name).values.filter((value) => isTestValue(name, value));
      expect(
        kept.filter(({ value }) => inTraining.has(value)),
        name,
      ).toEqual([]);
      expect(kept.filter(({ value }) => inTest.has(value)).length, name).toBeGreaterThan(0);
    }
  });

  test("every kind occurs in both, and a request stands for one list of calls", () => {
    const targets = new Map<string, string>();
    for (const { request, calls } of [...testExamples, ...sets.flatMap(({ train }) => train)]) {
      const target = JSON.stringify(calls);
      expect(targets.get(request) ?? target).toBe(target);
      targets.set(request, target);
    }
    const called = (rows: readonly SmartHomeExample[]) =>
      new Set(rows.flatMap(({ calls }) => calls.map(({ call }) => call)));
    const all = new Set(callKinds.map(({ call }) => call));
    expect(called(testExamples)).toEqual(all);
    expect(called(sets[0]?.train ?? [])).toEqual(all);
  });
});

test("the task renders compact JSON, and reads it back whatever the order of keys", async () => {
  const [example] = await smartHome.load({ split: "test", rows: 1, seed: 0 });
  if (example === undefined) throw new Error("no example");
  const { prompt, answer } = smartHome.render(example, "calls");
  expect(prompt).toBe(`Request: ${example.request}\nCalls:`);
  expect(answer).toBe(` ${JSON.stringify(example.calls)}`);
  expect(smartHome.read(answer, example, "robust").answer).toBe(smartHome.correct(example));
  const turned = example.calls.map((call) => Object.fromEntries(Object.entries(call).toReversed()));
  expect(smartHome.read(JSON.stringify(turned, null, 2), example, "robust").answer).toBe(smartHome.correct(example));
  expect(smartHome.read("Sure!", example, "robust").answer).toBeNull();
});
