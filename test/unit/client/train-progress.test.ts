import { describe, expect, it } from "vitest";
import { trainProgress } from "../../../ts/client/train-progress.js";
import type { TrainEvent } from "../../../ts/runs/events.js";

const started: TrainEvent = {
  type: "started",
  run: "runs/one",
  method: "SSP",
  model: "tiny",
  device: "cpu",
  dtype: "float32",
  trainable: 1234,
  rows: { train: 9, dev: 1, dropped: 0, truncated: 0 },
  devSource: "split off",
  steps: 10,
  resumedAt: null,
};
const step: TrainEvent = {
  type: "step",
  step: 5,
  kind: "weights",
  loss: 1.5,
  balance: null,
  gradientNorm: 1,
  learningRate: 1,
  answerTokens: 2,
  tokens: 8,
};
const finished: TrainEvent = {
  type: "finished",
  step: 5,
  stoppedBy: "enough",
  best: null,
  tokensPerSecond: 1,
  seconds: 1,
  skipped: 0,
};

const drawn = (events: readonly TrainEvent[]): readonly string[] => {
  const written: string[] = [];
  const draw = trainProgress({ write: (text) => written.push(text) });
  for (const event of [started, ...events, finished]) draw(event);
  return written.slice(1);
};

describe("the progress of a run", () => {
  it("shows the phase beside the figures, and each phase and pruning as a line", () => {
    const lines = drawn([
      { type: "phase", name: "search", index: 0, of: 2, step: 0, steps: 4, trainable: 5678 },
      { type: "pruned", step: 2, left: 3 },
      { type: "phase", name: "train", index: 1, of: 2, step: 4, steps: 6, trainable: 321 },
      step,
    ]);
    expect(lines.slice(0, 3)).toEqual([
      "phase 1 of 2: search, 4 steps, 5,678 parameters train\n",
      "step 2: at most 3 left at a place\n",
      "phase 2 of 2: train, 6 steps, 321 parameters train\n",
    ]);
    expect(lines.at(-1)).toMatch(/^step 5\/10 · 50 % · train · loss 1\.500 · \d+ tokens\/s/);
  });

  it("shows no phase where there is one", () => {
    expect(drawn([step]).at(-1)).toMatch(/^step 5\/10 · 50 % · loss 1\.500 · \d+ tokens\/s/);
  });
});
