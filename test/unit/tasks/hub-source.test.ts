import { describe, expect, test } from "vitest";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { bbhTaskNames } from "../../../ts/tasks/bbh.js";
import { choiceInstruction, parseChoiceInstruction } from "../../../ts/tasks/llm-adapters-choices.js";
import { loadSplit, loadSplitIfThere } from "../../../ts/tasks/load-split.js";
import { taskByName, tasks } from "../../../ts/tasks/registry.js";
import type { SplitName } from "../../../ts/tasks/task.js";
import { readJsonFile } from "../../../ts/util/files.js";
import { MiloraError } from "../../../ts/errors.js";
import { createFailingHub, createFakeHub, fakeCommit, unreachable, type HubData } from "../../support/fake-hub.js";
import { dataFolder, madeUpData } from "../../support/made-up-tasks.js";
import { hasRealData, realDataDir, realDataNote } from "../../support/real-data.js";
import { rejectionOf } from "../../support/thrown.js";

const choice = (question: string, text: readonly string[], answerKey: string, label: readonly string[]) => ({
  id: "x",
  question,
  question_stem: question,
  choices: { text, label },
  answerKey,
});

/** The questions of the made-up files in AI2's form; labels are letters or numbers. */
const allenRows = [
  choice("What keeps the fictional Zorb afloat?", ["a cork belt", "an iron ring"], "A", ["A", "B"]),
  choice('How do you fold a "quilp"?', ["twice, then once", "Never. It breaks"], "2", ["1", "2"]),
];
const piqaRows = allenRows.map(({ question: goal, choices: { text } }, label) => ({
  goal,
  sol1: text[0],
  sol2: text[1],
  label,
}));
const boolqRows = [
  { question: "do zorbs float", passage: "Zorbs wear cork belts.", answer: true },
  { question: "is a quilp round", passage: "Quilps are square.", answer: false },
];
const gsm8kRow = (count: number) => ({
  question: `Ann has ${count} zorbs and finds 2 more. How many has she?`,
  answer: `She has ${count} + 2 = <<${count}+2=${count + 2}>>${count + 2} zorbs.\n#### ${count + 2}`,
});
const aquaRow = (question: string, correct: string) => ({
  question,
  options: ["A)4.5", "B)5"],
  rationale: "9/2",
  correct,
});
const shots =
  "Do it.\n\nA: Let's think step by step. 1\nA: Let's think step by step. 2\nA: Let's think step by step. 3";
const mmluRow = (subject: string, index: number) => ({
  question: `What, "${index}"?`,
  subject,
  choices: ["one", "two, or", "three\nlines", "four"],
  answer: index % 4,
});

const data: HubData = {
  "allenai/ai2_arc ARC-Easy train": allenRows,
  "allenai/ai2_arc ARC-Easy test": allenRows,
  "allenai/ai2_arc ARC-Challenge test": allenRows,
  "allenai/openbookqa main test": allenRows,
  "baber/piqa default validation": piqaRows,
  "google/boolq default validation": boolqRows,
  "openai/gsm8k main train": [1, 2, 3, 4, 5, 6].map(gsm8kRow),
  "openai/gsm8k main test": [10, 1200].map(gsm8kRow),
  "deepmind/aqua_rat raw test": [aquaRow("Half of 9?", "A")],
  "cais/mmlu all test": [5, 6].map((index) => mmluRow("anatomy", index)),
  "cais/mmlu all dev": [0, 1, 2, 3, 4].map((index) => mmluRow("anatomy", index)),
  "HuggingFaceH4/mt_bench_prompts default train": [
    { prompt: ["Write about zorbs.", "Shorter, please."], category: "writing", reference: [] },
  ],
  "tatsu-lab/alpaca default train": [
    { instruction: "Name a zorb.", input: "", output: "Zed.", text: "all" },
    { instruction: "Say nothing.", input: "", output: "" },
  ],
  "Joschka/big_bench_hard few_shot_prompts few_shot_prompts": bbhTaskNames.map((name) => ({
    dataset_name: name,
    chain_of_thought_prompt: shots,
    answer_only_prompt: "",
  })),
  ...Object.fromEntries(bbhTaskNames.map((name) => [`SaylorTwift/bbh ${name} test`, [{ input: "7?", target: "7" }]])),
};

const splitOf = (name: string): SplitName => (name === "alpaca" ? "train" : "test");

test.each(["arc-easy", "arc-challenge", "openbookqa", "piqa", "boolq", "boolq-passage", "gsm8k"])(
  "%s: rows of the hub ask what the same rows of a file ask",
  async (name) => {
    const task = taskByName(name);
    const hub = await createFakeHub(data);
    const { examples, source } = await loadSplit(task, { split: "test", hub });
    expect(examples).toEqual(await task.load({ split: "test", dir: await madeUpData() }));
    expect(source?.splits[0]).toMatchObject({ hub: task.hub?.id, commit: fakeCommit, rows: 2 });
  },
);

test.each(Object.values(tasks).filter(({ hub }) => hub !== undefined))(
  "$name: rows of the hub can be loaded, rendered and scored, a second time without the hub",
  async (task) => {
    const hub = await createFakeHub(data);
    const split = splitOf(task.name);
    const { examples } = await loadSplit(task, { split, hub });
    const rendered = task.templates.flatMap((template) => examples.map((example) => task.render(example, template)));
    expect(rendered.length).toBeGreaterThan(0);
    for (const { prompt } of rendered) expect(prompt).toMatch(/\S/);
    for (const { revision } of hub.asked) expect(revision).toMatch(/^(main|[\da-f]{40})$/);
    const offline = await createFailingHub(unreachable, hub.home);
    expect((await loadSplit(task, { split, hub: offline })).examples).toEqual(examples);
  },
);

test("every benchmark names its source, and columns that its mapping reads", () => {
  const without = Object.values(tasks).filter(({ hub }) => hub === undefined);
  expect(without.map(({ name }) => name)).toEqual(["smart-home"]);
  for (const { hub, splits } of Object.values(tasks))
    for (const split of splits) for (const part of hub?.splits[split] ?? []) expect(part.columns).not.toEqual([]);
});

test("MMLU, BBH, MT-Bench and Alpaca become the files that their authors give out", async () => {
  const hub = await createFakeHub(data);
  const mmlu = await loadSplit(taskByName("mmlu"), { split: "test", hub });
  expect(mmlu.examples[0]).toMatchObject({
    subject: "anatomy",
    question: 'What, "5"?',
    answer: "B",
    choices: ["one", "two, or", "three\nlines", "four"],
  });
  const bbh = await loadSplit(taskByName("bbh"), { split: "test", hub });
  expect(bbh.examples).toHaveLength(27);
  expect(bbh.examples[0]).toEqual({ task: "boolean_expressions", input: "7?", target: "7", shots });
  expect(bbh.source?.splits).toHaveLength(28);
  const mtBench = await loadSplit(taskByName("mt-bench"), { split: "test", hub });
  expect(mtBench.examples).toEqual([
    { questionId: 81, category: "writing", turns: ["Write about zorbs.", "Shorter, please."], references: [] },
  ]);
  expect(mtBench.source?.note).toContain("without GPT-4's reference answers");
  const alpaca = await loadSplit(taskByName("alpaca"), { split: "train", hub });
  expect(alpaca.examples).toHaveLength(1);
  expect(alpaca.source?.dropped).toBe(1);
  expect(await readdir(join(hub.home, "hub"))).toHaveLength(4);
});

test("a malformed row of the hub is told by its place", async () => {
  const arc = taskByName("arc-easy");
  const wrong = await createFakeHub({
    "allenai/ai2_arc ARC-Easy test": [...allenRows, choice("q", ["a", "b"], "C", ["A", "B"])],
  });
  const error = await rejectionOf(loadSplit(arc, { split: "test", hub: wrong }), "data/bad-row");
  expect(error.message).toContain("allenai/ai2_arc (ARC-Easy, test)");
  expect(error.problems).toEqual(['item 2: answerKey: found "C", allowed: A, B']);
  const prompts = { dataset_name: "navigate", chain_of_thought_prompt: "Q: one\nA: yes" };
  const bbh = await createFakeHub({ ...data, "Joschka/big_bench_hard few_shot_prompts few_shot_prompts": [prompts] });
  const few = await rejectionOf(loadSplit(taskByName("bbh"), { split: "test", hub: bbh }), "data/bad-row");
  expect(few.allowed).toContain("3 worked examples");
});

describe("which source is used", () => {
  const arc = taskByName("arc-easy");

  test("local files come first; what they lack is fetched", async () => {
    const hub = await createFakeHub(data);
    const dir = await madeUpData();
    expect(await loadSplit(arc, { split: "test", dir, hub })).not.toHaveProperty("source");
    const other = await dataFolder({ "gsm8k/test.jsonl": JSON.stringify(gsm8kRow(1)) });
    expect((await loadSplit(arc, { split: "test", dir: other, hub })).source?.splits[0]?.hub).toBe("allenai/ai2_arc");
    expect(hub.asked).toHaveLength(1);
  });

  test("a choice of the hub is used whatever the folder holds; a commit of one data set is none of another", async () => {
    const hub = await createFakeHub({ ...data, "me/arc mine test": allenRows });
    const dir = await madeUpData();
    const chosen = { dir, split: "test", hub } as const;
    await loadSplit(arc, { ...chosen, choice: {} });
    await loadSplit(arc, { ...chosen, choice: { revision: "v2" } });
    await loadSplit(arc, { ...chosen, choice: { id: "me/arc", config: "mine" } });
    expect(hub.asked.map(({ id, config, revision }) => [id, config, revision])).toEqual([
      ["allenai/ai2_arc", "ARC-Easy", arc.hub?.revision],
      ["allenai/ai2_arc", "ARC-Easy", "v2"],
      ["me/arc", "mine", "main"],
    ]);
    const several = loadSplit(taskByName("bbh"), { ...chosen, choice: { config: "navigate" } });
    expect((await rejectionOf(several, "input/invalid-spec")).path).toBe("data.hub.config");
    const none = loadSplit(taskByName("smart-home"), { ...chosen, choice: {} });
    await rejectionOf(none, "input/invalid-spec");
    await rejectionOf(loadSplit(arc, { split: "test", choice: {} }), "internal");
  });

  test("where the hub can't be asked, a named folder that lacks the files is what is told first", async () => {
    const hub = await createFailingHub(unreachable);
    const dir = await dataFolder({ "arc-easy/notes.txt": "x" });
    const named = await rejectionOf(loadSplit(arc, { split: "test", dir, hub }), "input/missing-file");
    expect(named.message).toContain(
      "it holds notes.txt. The hub could not be asked either: The hub could not be reached.",
    );
    expect(named.hint).toContain("Check the network. Or: Take the files");
    const bare = await rejectionOf(loadSplit(arc, { split: "test", hub }), "data/unreachable");
    expect(bare.hint).toContain("Or: Take the files");
    await rejectionOf(loadSplit(arc, { split: "test", dir, hub, choice: {} }), "data/unreachable");
    expect(await loadSplitIfThere(arc, { split: "test", dir, hub })).toBeNull();
    expect(await loadSplitIfThere(arc, { split: "dev", dir, hub })).toBeNull();
    const gone = await createFailingHub(new MiloraError("data/not-found", "There is none."));
    await rejectionOf(loadSplitIfThere(arc, { split: "test", dir, hub: gone }), "data/not-found");
  });
});

test.skipIf(!hasRealData)(
  `the instructions of LLM-Adapters' files are written as they are${realDataNote}`,
  async () => {
    const sets = [
      ["arc-easy", "answer"],
      ["arc-challenge", "answer"],
      ["openbookqa", "answer"],
      ["piqa", "solution"],
    ] as const;
    for (const [name, word] of sets) {
      const rows = await readJsonFile(join(realDataDir, name, "test.json"));
      const instructions = Array.isArray(rows)
        ? rows.map((row: unknown) => String(Reflect.get(Object(row), "instruction")))
        : [];
      const differing = instructions.filter((instruction) => {
        const parts = parseChoiceInstruction(instruction, word);
        return (
          parts === undefined ||
          choiceInstruction({ word, ...parts }).replaceAll(/\s+/g, " ") !== instruction.replaceAll(/\s+/g, " ").trim()
        );
      });
      expect(instructions.length).toBeGreaterThan(400);
      expect(differing).toEqual([]);
    }
  },
);
