import { execa } from "execa";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { holdFolder, waitUntilGone, writeOwner } from "../../../ts/sweep/processes.js";
import { identityOf } from "../../../ts/util/process-identity.js";
import { temporaryFolder } from "../../support/temporary-folder.js";
import { errorOf, rejectionOf } from "../../support/thrown.js";

const fileWith = async (text: string): Promise<string> => {
  const file = join(await temporaryFolder(), "process");
  writeFileSync(file, text);
  return file;
};

describe("holdFolder", () => {
  it("refuses what a living process holds, and names it", async () => {
    const file = await fileWith(JSON.stringify(identityOf()));
    expect(() => holdFolder(file)).toThrow(`Process ${process.pid} is still at work`);
  });

  it("takes over from one that is gone, and lets go", async () => {
    const child = execa("sleep", ["0"]);
    await child;
    const file = await fileWith(JSON.stringify({ ...identityOf(child.pid), start: null }));
    const release = holdFolder(file);
    expect(() => holdFolder(file)).toThrow("still at work");
    release();
    expect(existsSync(file)).toBe(false);
  });

  it("takes a garbled file for nobody's", async () => {
    holdFolder(await fileWith("half a num"))();
  });

  it("tells a folder that can't be written as run/disk", async () => {
    const file = join(await temporaryFolder(), "gone", "process");
    expect(errorOf(() => holdFolder(file), "run/disk").file).toBe(file);
  });

  it("does not take another process with the same id for it", async () => {
    holdFolder(await fileWith(JSON.stringify({ ...identityOf(), start: "another time" })))();
  });
});

describe("waitUntilGone", () => {
  it("returns once the process has ended, and not before", async () => {
    const child = execa("sleep", ["0.4"]);
    const startedAt = performance.now();
    const file = await fileWith("");
    writeOwner(file, child.pid ?? 0);
    await waitUntilGone(file, 10_000);
    expect(performance.now() - startedAt).toBeGreaterThan(200);
    await child;
  });

  it("knows nothing of another machine's processes", async () => {
    const startedAt = performance.now();
    await waitUntilGone(await fileWith(JSON.stringify({ ...identityOf(), host: "elsewhere.example" })), 10_000);
    expect(performance.now() - startedAt).toBeLessThan(5000);
  });

  it("gives up at its limit", async () => {
    const file = await fileWith(JSON.stringify(identityOf()));
    await rejectionOf(waitUntilGone(file, 100), "run/exists");
  });
});
