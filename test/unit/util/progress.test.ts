import { describe, expect, test } from "vitest";
import { createProgress } from "../../../ts/util/progress.js";

const fakeStream = (terminal: boolean, columns?: number) => {
  const written: string[] = [];
  return { written, isTTY: terminal, columns, write: (text: string) => written.push(text) };
};

const fakeClock = () => {
  let time = 0;
  return { now: () => time, advance: (milliseconds: number) => (time += milliseconds) };
};

describe("on a terminal", () => {
  test("redraws one line, at most ten times a second, with rate and time left", () => {
    const stream = fakeStream(true, 200);
    const clock = fakeClock();
    const progress = createProgress({ stream, label: "training", total: 100, unit: "step", now: clock.now });
    for (let done = 1; done <= 50; done += 1) {
      clock.advance(20);
      progress.update(done, `loss ${done}`);
    }
    expect(stream.written).toHaveLength(10);
    expect(stream.written.every((text) => text.startsWith("\r\u001B[K") && !text.includes("\n"))).toBe(true);
    expect(stream.written.at(-1)).toBe("\r\u001B[Ktraining 46/100 · 46 % · loss 46 · 50 step/s · 1.1 s left");
    progress.close();
    expect(stream.written.at(-1)).toBe("\r\u001B[Ktraining 50/100 · 50 % · loss 50 · 50 step/s · 1.0 s left\n");
  });

  test("is cut to the terminal's width, and a note goes above it", () => {
    const stream = fakeStream(true, 20);
    const progress = createProgress({ stream, label: "a label that is long", total: 5, now: fakeClock().now });
    progress.update(1);
    expect(stream.written).toEqual(["\r\u001B[Ka label that is lo…"]);
    progress.note("saved");
    expect(stream.written.at(-1)).toBe("\r\u001B[Ksaved\na label that is lo…");
  });

  test("after close nothing is drawn", () => {
    const stream = fakeStream(true);
    const progress = createProgress({ stream, label: "x", total: 2, now: fakeClock().now });
    progress.close("done");
    progress.close("again");
    progress.update(2);
    expect(stream.written).toEqual(["\r\u001B[Kdone\n"]);
  });
});

describe("elsewhere", () => {
  test("writes whole lines, at most one in ten seconds, and the last", () => {
    const stream = fakeStream(false);
    const clock = fakeClock();
    const progress = createProgress({ stream, label: "evaluating", total: 60, now: clock.now });
    for (let done = 1; done <= 60; done += 1) {
      clock.advance(500);
      progress.update(done);
    }
    progress.close();
    expect(stream.written).toEqual([
      "evaluating 20/60 · 33 % · 20 s left\n",
      "evaluating 40/60 · 66 % · 10 s left\n",
      "evaluating 60/60 · 100 % · 30 s\n",
    ]);
  });

  test("a resumed run's rate counts only what it did itself; an unknown total shows counts and time", () => {
    const clock = fakeClock();
    const resumed = fakeStream(false);
    const progress = createProgress({
      stream: resumed,
      label: "a",
      total: 100,
      start: 50,
      unit: "step",
      now: clock.now,
    });
    clock.advance(10_000);
    progress.update(60);
    expect(resumed.written).toEqual(["a 60/100 · 60 % · 1.00 step/s · 40 s left\n"]);
    const open = fakeStream(false);
    const counting = createProgress({ stream: open, label: "b", total: null, now: clock.now });
    clock.advance(2000);
    counting.update(7);
    counting.close();
    expect(open.written).toEqual(["b 7 · 2.0 s\n"]);
  });
});
