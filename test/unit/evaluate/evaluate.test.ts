import { describe, expect, test } from "vitest";
import { evaluate, type EvaluateOptions } from "../../../ts/evaluate/evaluate.js";
import { alpaca } from "../../../ts/tasks/alpaca.js";
import { arcEasy } from "../../../ts/tasks/arc-easy.js";
import { defineTask } from "../../../ts/tasks/define-task.js";
import { mtBench } from "../../../ts/tasks/mt-bench.js";
import { smartHome } from "../../../ts/tasks/smart-home/task.js";
import { createFakeBackend, type FakeHandlers } from "../../support/fake-backend.js";
import { rejectionOf } from "../../support/thrown.js";

const texts = ["a", "bb?", "ccc", "dd", "e", "ff", "a long one", "g"];
const rows = texts.map((text, index) => ({ text, kind: index % 4 === 0 ? "no" : "yes" }));

const task = defineTask({
  name: "toy",
  version: 3,
  choices: ["yes", "no"],
  prompt: (row: { readonly text: string; readonly kind: string }) => `${row.text}:`,
  answer: (row) => row.kind,
  load: () => Promise.resolve(rows),
});

const written = (text: string) => ({ text, promptTokens: 3, newTokens: 2, finish: "stop" as const, routing: null });

/** Answers "yes" to everything but long prompts, which get nothing readable. */
const saysYes: FakeHandlers = {
  generate: ({ requests }) => ({
    outputs: requests.map(({ prompt = "" }) => written(prompt.length > 8 ? "hm" : " Yes.")),
  }),
};

/** Log-likelihoods by which "no" is likelier, by sum and by character. */
const scores: FakeHandlers = {
  scoreChoices: ({ rows: asked }) => ({
    scores: asked.map(({ prompt = "" }) => [
      { logLikelihood: prompt.length > 8 ? -9 : -3, tokens: 1 },
      { logLikelihood: prompt.length > 8 ? -4 : -1.9, tokens: 1 },
    ]),
  }),
};

const run = async (handlers: FakeHandlers, options: Partial<EvaluateOptions> = {}) => {
  const backend = createFakeBackend(handlers);
  const result = await evaluate({ backend, adapter: "tuned", task, scorer: "generate", batchSize: 3, ...options });
  return { backend, result };
};

describe("scorer generate", () => {
  test("counts right, unparsed, chance, majority, and keeps the rows' order", async () => {
    const { result } = await run(saysYes);
    expect(result).toMatchObject({
      task: "toy",
      version: 3,
      split: "test",
      scorer: "generate",
      template: "default",
      accuracy: 5 / 8,
      correct: 5,
      total: 8,
      unparsed: 1,
      chance: 0.5,
      majority: 6 / 8,
      newTokens: 16,
    });
    expect(result.tokensPerSecond).toBeGreaterThan(0);
    expect(result.rows.map((row) => row.index)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(result.rows.map((row) => row.prompt)).toEqual(texts.map((text) => `${text}:`));
    expect(result.rows[6]).toMatchObject({ output: "hm", read: null, expected: "yes", correct: false });
    expect(result.rows[0]).toMatchObject({ output: " Yes.", read: "yes", expected: "no", correct: false });
    expect(result.accuracySum).toBeUndefined();
    expect(result.interval[0]).toBeLessThan(5 / 8);
    expect(result.interval[1]).toBeGreaterThan(5 / 8);
  });

  test("sends chunks, the longest prompts first, with adapter, beams and limit of tokens, and tells progress", async () => {
    const seen: number[] = [];
    const { backend } = await run(saysYes, { beams: 3, maxNewTokens: 7, onProgress: (done) => seen.push(done) });
    expect(seen).toEqual([0, 3, 6, 8]);
    expect(backend.calls.map((call) => call.name)).toEqual(["generate", "generate", "generate"]);
    expect(backend.calls[0]?.input).toEqual({
      requests: [
        { adapter: "tuned", prompt: "a long one:", chat: false },
        { adapter: "tuned", prompt: "bb?:", chat: false },
        { adapter: "tuned", prompt: "ccc:", chat: false },
      ],
      beams: 3,
      maxNewTokens: 7,
      cutPrompts: true,
    });
  });

  test("limit takes the first rows, and the protocol says so", async () => {
    const { result } = await run(saysYes, { limit: 4, beams: 2 });
    expect(result.total).toBe(4);
    expect(result.protocol).toBe(
      `toy v3; first 4 of 8 test rows; template default (${result.templateHash}); plain prompt; zero-shot; ` +
        "generate (2 beams, at most 64 new tokens), robust reader, accuracy",
    );
  });

  test("smart-home is scored by exact match of parsed calls", async () => {
    const examples = await smartHome.load({ split: "test", rows: 6, seed: 1 });
    const answers = new Map(examples.map((example) => [smartHome.render(example, "calls").prompt, example.calls]));
    let count = 0;
    const { result } = await run(
      {
        generate: ({ requests }) => ({
          outputs: requests.map(({ prompt = "" }) => {
            count += 1;
            if (count === 1) return written("I can't");
            if (count === 2) return written('[{"call":"other"}]');
            return written(JSON.stringify(answers.get(prompt), null, 1));
          }),
        }),
      },
      { task: smartHome, rows: 6, seed: 1 },
    );
    expect(result).toMatchObject({ correct: 4, total: 6, unparsed: 1, chance: 0 });
    expect(result.protocol).toContain("exact-match");
  });
});

describe("scorer loglik", () => {
  test("gives both ways of choosing, the normalised one as the accuracy", async () => {
    const { result, backend } = await run(scores, { scorer: "loglik" });
    // Two of the eight rows are "no". By character: −1.9/2 against −3/3, and −4/2 against −9/3.
    expect(result.accuracySum).toBe(2 / 8);
    expect(result.tokensPerSecond).toBeUndefined();
    expect(result).toMatchObject({ accuracy: 2 / 8, accuracyNormalized: 2 / 8, unparsed: 0, chance: 0.5 });
    expect(backend.calls[0]?.input).toMatchObject({ adapter: "tuned" });
    expect(result.rows[6]).toMatchObject({ read: "no", scores: [{ logLikelihood: -9 }, { logLikelihood: -4 }] });
  });

  test("the two ways differ where a longer choice has the lower sum", async () => {
    const longer: FakeHandlers = {
      scoreChoices: ({ rows: asked }) => ({
        scores: asked.map(() => [
          { logLikelihood: -2.4, tokens: 1 },
          { logLikelihood: -2, tokens: 1 },
        ]),
      }),
    };
    const { result } = await run(longer, { scorer: "loglik" });
    // yes: −2.4 / 3 = −0.8; no: −2 / 2 = −1.
    expect(result.accuracySum).toBe(2 / 8);
    expect(result.accuracyNormalized).toBe(6 / 8);
  });

  test("chance is the mean over questions of different size", async () => {
    const question = (choices: readonly string[]) => ({ instruction: "i", question: "q", choices, answer: "answer1" });
    const mixed = { ...arcEasy, load: () => Promise.resolve([question(["x", "y"]), question(["x", "y", "z", "w"])]) };
    const { result } = await run(
      {
        scoreChoices: ({ rows: asked }) => ({
          scores: asked.map(({ choices }) => choices.map((_, index) => ({ logLikelihood: -1 - index, tokens: 1 }))),
        }),
      },
      { scorer: "loglik", task: mixed },
    );
    expect(result).toMatchObject({ chance: 0.375, correct: 2, majority: 1 });
  });
});

describe("refusals", () => {
  test("a scorer, template or split that the task does not have", async () => {
    const backend = createFakeBackend();
    await rejectionOf(evaluate({ backend, adapter: null, task: smartHome, scorer: "loglik" }), "input/unknown-name");
    const base = { backend, adapter: null, task, scorer: "generate" } as const;
    await rejectionOf(evaluate({ ...base, template: "x" }), "input/unknown-name");
    await rejectionOf(evaluate({ ...base, split: "dev" }), "input/unknown-name");
    expect(backend.calls).toEqual([]);
  });

  test("an abort ends between two chunks and reaches the running call", async () => {
    const controller = new AbortController();
    const signals: (AbortSignal | undefined)[] = [];
    const handlers: FakeHandlers = {
      generate: ({ requests }, options) => {
        signals.push(options?.signal);
        controller.abort();
        return { outputs: requests.map(() => written("yes")) };
      },
    };
    await rejectionOf(run(handlers, { signal: controller.signal }), "cancelled");
    expect(signals).toEqual([controller.signal]);
  });

  test("too few results from the backend are our fault, not a score", async () => {
    await rejectionOf(run({ generate: () => ({ outputs: [written("yes")] }) }), "internal");
  });
});

describe("scorer label", () => {
  test("takes the label with the highest log-likelihood, of the template that has labels", async () => {
    const example = { instruction: "i", question: "q?", choices: ["x", "y"], answer: "answer2" };
    const lettered = { ...arcEasy, load: () => Promise.resolve([example, { ...example, answer: "answer1" }]) };
    const { result, backend } = await run(
      {
        scoreChoices: ({ rows: asked }) => ({
          scores: asked.map(() => [
            { logLikelihood: -2, tokens: 1 },
            { logLikelihood: -1, tokens: 1 },
          ]),
        }),
      },
      { scorer: "label", task: lettered },
    );
    expect(backend.calls[0]?.input).toMatchObject({
      rows: [{ prompt: "Question: q?\nA. x\nB. y\nAnswer:", choices: [" A", " B"] }, {}],
    });
    expect(result).toMatchObject({ scorer: "label", template: "letter", accuracy: 0.5, correct: 1, chance: 0.5 });
    expect(result.rows.map((row) => row.read)).toEqual(["answer2", "answer2"]);
    expect(result.accuracySum).toBeUndefined();
    expect(result.protocol).toContain("label (the label with the highest log-likelihood after the prompt)");
  });

  test("a template without labels is refused, and so is a task without them", async () => {
    const base = { backend: createFakeBackend(), adapter: null, scorer: "label" } as const;
    const error = await rejectionOf(
      evaluate({ ...base, task: arcEasy, template: "choice-text" }),
      "input/unknown-name",
    );
    expect(error.allowed).toBe("letter");
    await rejectionOf(evaluate({ ...base, task: smartHome }), "input/unknown-name");
  });
});

describe("tasks with parts", () => {
  const parted = {
    ...task,
    shots: { default: 5 },
    groupsOf: (row: { readonly text: string }) => ({ kinds: row.text.length === 1 ? "short" : "long", all: "one" }),
  };

  test("give the figures of each part, and the mean over parts", async () => {
    const { result } = await run(saysYes, { task: parted });
    // Short: a, e, g (no, no, yes); long: the other five, all yes but for the unreadable one.
    expect(result.groups).toEqual({
      kinds: {
        mean: (1 / 3 + 4 / 5) / 2,
        parts: {
          short: { accuracy: 1 / 3, correct: 1, total: 3, unparsed: 0 },
          long: { accuracy: 4 / 5, correct: 4, total: 5, unparsed: 1 },
        },
      },
      all: { mean: 5 / 8, parts: { one: { accuracy: 5 / 8, correct: 5, total: 8, unparsed: 1 } } },
    });
    expect(result.protocol).toContain("all 8 test rows of 2 kinds; ");
    expect(result.protocol).toContain("; 5-shot; ");
  });

  test("share a limit", async () => {
    const { result } = await run(saysYes, { task: parted, limit: 4 });
    expect(result.rows.map(({ index }) => index)).toEqual([0, 1, 2, 4]);
    expect(result.protocol).toContain("first 4 of 8 test rows, shared by 2 kinds; ");
  });

  test("a task without parts has no such figures", async () => {
    expect((await run(saysYes)).result.groups).toBeUndefined();
  });
});

describe("answers that are judged", () => {
  const example = { questionId: 1, category: "math", turns: ["What is 2 + 2?", "Twice that?"], references: [] };
  const judged = { ...mtBench, load: () => Promise.resolve([example, { ...example, questionId: 2 }]) };

  test("have both turns and no score, and the protocol says so", async () => {
    const { result, backend } = await run(
      { generate: ({ requests }) => ({ outputs: requests.map(({ prompt = "" }) => written(` ${prompt.length}`)) }) },
      { task: judged },
    );
    expect(result).toMatchObject({ accuracy: null, total: 0, correct: 0, unscored: 2, newTokens: 8 });
    expect(result.groups).toBeUndefined();
    expect(result.protocol).toContain("no automatic score: the outputs are to be judged");
    expect(backend.calls).toHaveLength(2);
    const [row] = result.rows;
    const [first, second] = row?.turns ?? [];
    expect(first).toEqual({ prompt: row?.prompt, output: row?.output });
    expect(second?.prompt).toBe(
      `${first?.prompt}${first?.output.trim()}\n\n### Instruction:\nTwice that?\n\n### Response:\n`,
    );
  });

  test("alpaca is for training only", async () => {
    const backend = createFakeBackend();
    const error = await rejectionOf(
      evaluate({ backend, adapter: null, task: alpaca, scorer: "generate" }),
      "input/unknown-name",
    );
    expect(error.message).toContain("training only");
  });
});
