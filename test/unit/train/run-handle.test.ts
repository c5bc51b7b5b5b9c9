import { describe, expect, it } from "vitest";
import type { TrainEvent } from "../../../ts/runs/events.js";
import { startRun, type RunControl, type TrainResult } from "../../../ts/train/run-handle.js";

const result: TrainResult = {
  folder: "run",
  adapter: "run/adapter",
  steps: 1,
  stoppedBy: "max-steps",
  best: null,
  tokensPerSecond: 1,
  skipped: 0,
};

const warning = (index: number): TrainEvent => ({ type: "warning", message: String(index) });

/** A run that ends when it is told to, and the control that its loop would have. */
const heldRun = () => {
  let control: RunControl | undefined;
  let end: (() => void) | undefined;
  const run = startRun(async (given) => {
    control = given;
    await new Promise<void>((resolve) => (end = resolve));
    return result;
  });
  const tell = (from: number, to: number): void => {
    for (let index = from; index < to; index += 1) control?.emit(warning(index));
  };
  return { run, tell, end: () => end?.() };
};

const messagesOf = async (events: AsyncIterable<TrainEvent>): Promise<readonly number[]> => {
  const messages: number[] = [];
  for await (const event of events) if (event.type === "warning") messages.push(Number(event.message));
  return messages;
};

const numbers = (from: number, to: number): readonly number[] =>
  Array.from({ length: to - from }, (_, index) => from + index);

describe("a run's events", () => {
  it("come to each reader in order, whole to one that looks from the start, the newest to one that is late", async () => {
    const { run, tell, end } = heldRun();
    tell(0, 10);
    const early = messagesOf(run);
    await Promise.resolve();
    tell(10, 10_050);
    const late = messagesOf(run);
    tell(10_050, 10_060);
    end();
    expect(await early).toEqual(numbers(0, 10_060));
    const seen = await late;
    expect(seen.at(-1)).toBe(10_059);
    expect(seen.length).toBeLessThanOrEqual(10_010);
    expect(seen).toEqual(numbers(seen[0] ?? -1, 10_060));
    expect((await messagesOf(run)).length).toBe(10_000);
  });

  it("end with the run's failure", async () => {
    const run = startRun(async ({ emit }) => {
      emit(warning(1));
      throw new Error("it broke");
    });
    await expect(messagesOf(run)).rejects.toThrow("it broke");
  });
});
