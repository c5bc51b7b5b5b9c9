import { execa } from "execa";
import { existsSync, readFileSync, utimesSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { lockRun, lockRunWithin } from "../../../ts/runs/run-lock.js";
import { temporaryFolder } from "../../support/temporary-folder.js";
import { rejectionOf } from "../../support/thrown.js";

/** No process has this id: it is above what Linux and macOS give. */
const nobody = 2 ** 30;

describe("a run's lock", () => {
  it("is held by one, and free again afterwards", async () => {
    const root = await temporaryFolder();
    const file = join(root, "run.lock");
    const release = lockRun(root, file);
    expect(() => lockRun(root, file)).toThrow(`in progress: process ${process.pid}`);
    release();
    expect(existsSync(file)).toBe(false);
    lockRun(root, file)();
  });

  it.each([
    ["a process that is gone", { pid: nobody, host: hostname(), start: null }],
    ["another process of the same id", { pid: process.pid, host: hostname(), start: "never" }],
  ])("of %s is taken over", async (_name, holder) => {
    const root = await temporaryFolder();
    const file = join(root, "run.lock");
    writeFileSync(file, JSON.stringify(holder));
    const release = lockRun(root, file);
    expect(JSON.parse(readFileSync(file, "utf8"))).toMatchObject({ pid: process.pid });
    release();
  });

  it("that was not written to its end is nobody's", async () => {
    const root = await temporaryFolder();
    const file = join(root, "run.lock");
    writeFileSync(file, '{"pid":');
    lockRun(root, file)();
  });

  it("of another machine counts as long as it is touched", async () => {
    const root = await temporaryFolder();
    const file = join(root, "run.lock");
    writeFileSync(file, JSON.stringify({ pid: nobody, host: "elsewhere.example", start: null }));
    expect(() => lockRun(root, file)).toThrow("on elsewhere.example");
    const old = new Date(Date.now() - 120_000);
    utimesSync(file, old, old);
    lockRun(root, file)();
  });

  it("of a machine that is gone is waited for, and taken a minute after its last sign of life", async () => {
    const root = await temporaryFolder();
    const file = join(root, "run.lock");
    writeFileSync(file, JSON.stringify({ pid: nobody, host: "elsewhere.example", start: null }));
    const almost = new Date(Date.now() - 59_500);
    utimesSync(file, almost, almost);
    const { signal } = new AbortController();
    expect(() => lockRun(root, file)).toThrow("on elsewhere.example");
    const release = await lockRunWithin(root, file, { limitMs: 10_000, signal });
    expect(JSON.parse(readFileSync(file, "utf8"))).toMatchObject({ pid: process.pid });
    release();
  });

  it("that is held is waited for no longer than asked, nor once the sweep is stopped", async () => {
    const root = await temporaryFolder();
    const file = join(root, "run.lock");
    const release = lockRun(root, file);
    const { signal } = new AbortController();
    await rejectionOf(lockRunWithin(root, file, { limitMs: 300, signal }), "run/exists");
    await rejectionOf(lockRunWithin(root, file, { limitMs: 60_000, signal: AbortSignal.abort() }), "run/exists");
    setTimeout(release, 300);
    (await lockRunWithin(root, file, { limitMs: 60_000, signal }))();
  });

  it("that another took over meanwhile is left alone", async () => {
    const root = await temporaryFolder();
    const file = join(root, "run.lock");
    const release = lockRun(root, file);
    const others = JSON.stringify({ pid: process.pid, host: "elsewhere.example", start: null });
    writeFileSync(file, others);
    release();
    expect(readFileSync(file, "utf8")).toBe(others);
  });

  it("of a process that is gone is taken over by one of several that try at once", async () => {
    const folder = await temporaryFolder();
    const names = Array.from({ length: 60 }, (_, index) => `${index}.lock`);
    const dead = JSON.stringify({ pid: nobody, host: hostname(), start: null });
    for (const name of names) writeFileSync(join(folder, name), dead);
    const script = join(import.meta.dirname, "../../fixtures/locks/take-all.ts");
    const when = String(Date.now() + 3000);
    const ended = await Promise.all([1, 2, 3, 4].map(() => execa("node", ["--import", "tsx", script, folder, when])));
    const taken = ended.flatMap(({ stdout }): unknown => JSON.parse(stdout));
    const inOrder = (files: readonly unknown[]): readonly string[] =>
      files.map(String).toSorted((a, b) => a.localeCompare(b));
    expect(inOrder(taken)).toEqual(inOrder(names));
  });
});
