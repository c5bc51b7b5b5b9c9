import { expect, test } from "vitest";
import { CallQueue } from "../../../ts/bridge/call-queue.js";

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("one job at a time, in order; the first starts at once", async () => {
  const queue = new CallQueue();
  const log: string[] = [];
  const endings: (() => void)[] = [];
  for (const name of ["a", "b", "c"]) {
    queue.add(() => {
      log.push(name);
      return new Promise((resolve) => endings.push(resolve));
    });
  }
  expect(log).toEqual(["a"]);
  endings[0]?.();
  await settled();
  expect(log).toEqual(["a", "b"]);
  endings[1]?.();
  await settled();
  expect(log).toEqual(["a", "b", "c"]);
});

test("a job that was taken back never starts; one that has started cannot be", async () => {
  const queue = new CallQueue();
  const log: string[] = [];
  const job = (name: string) => async (): Promise<void> => {
    log.push(name);
    await settled();
  };
  const takeFirst = queue.add(job("first"));
  const takeSecond = queue.add(job("second"));
  queue.add(job("third"));
  expect([takeFirst(), takeSecond(), takeSecond()]).toEqual([false, true, false]);
  await settled();
  await settled();
  expect(log).toEqual(["first", "third"]);
});
