import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { expect, test } from "vitest";
import { withLock } from "../../../../ts/bridge/environment/lock.js";
import { temporaryFolder } from "../../../support/temporary-folder.js";
import { rejectionOf } from "../../../support/thrown.js";

const lockPath = async () => join(await temporaryFolder(), "the.lock");

test("two holders take turns, and the lock is gone afterwards", async () => {
  const file = await lockPath();
  const order: string[] = [];
  const hold = (name: string) =>
    withLock(file, async () => {
      order.push(`${name} begins`);
      await new Promise((resolve) => setTimeout(resolve, 30));
      order.push(`${name} ends`);
    });
  await Promise.all([hold("first"), hold("second")]);
  expect(order).toEqual(["first begins", "first ends", "second begins", "second ends"]);
  expect(existsSync(file)).toBe(false);
});

test("a failure releases the lock", async () => {
  const file = await lockPath();
  await expect(withLock(file, () => Promise.reject(new Error("broken")))).rejects.toThrow("broken");
  expect(await withLock(file, () => Promise.resolve("next"))).toBe("next");
});

const deadPid = async (): Promise<number> => {
  const child = execa("true");
  await child;
  return child.pid ?? 0;
};

test.each([
  ["a process that is gone", async () => JSON.stringify({ pid: await deadPid(), start: "1" })],
  [
    "a pid that another process has by now",
    async () => JSON.stringify({ pid: process.pid, start: "an earlier start" }),
  ],
  ["a garbled lock", async () => '{"pid": 12'],
  ["an empty lock", async () => ""],
])("%s: the lock is taken over", async (_name, content) => {
  const file = await lockPath();
  writeFileSync(file, await content());
  const inside = await withLock(file, () => Promise.resolve(readFileSync(file, "utf8")));
  expect(JSON.parse(inside)).toMatchObject({ pid: process.pid });
});

test("whoever waits is told once for whom, and an abort ends the waiting", async () => {
  const file = await lockPath();
  const controller = new AbortController();
  const told: number[] = [];
  await withLock(file, async () => {
    const onWait = (pid: number) => {
      told.push(pid);
      controller.abort();
    };
    await rejectionOf(
      withLock(file, () => Promise.resolve(), { onWait, signal: controller.signal }),
      "cancelled",
    );
  });
  expect(told).toEqual([process.pid]);
});
