import { execa } from "execa";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { holdFolder, waitUntilGone } from "../../../ts/sweep/processes.js";
import { temporaryFolder } from "../../support/temporary-folder.js";
import { rejectionOf } from "../../support/thrown.js";

const fileWith = async (text: string): Promise<string> => {
  const file = join(await temporaryFolder(), "process");
  writeFileSync(file, text);
  return file;
};

describe("holdFolder", () => {
  it("refuses what another living process holds, and names it", async () => {
    const file = await fileWith(String(process.pid));
    const error = await rejectionOf(holdFolder({ file, word: "node" }), "run/exists");
    expect(error.message).toContain(`Process ${process.pid}`);
  });

  it("takes over from one that is gone, and lets go", async () => {
    const child = execa("sleep", ["0"]);
    await child;
    const file = await fileWith(String(child.pid));
    const release = await holdFolder({ file, word: "sleep" });
    release();
    expect(existsSync(file)).toBe(false);
  });

  it("takes a garbled file for nobody's", async () => {
    (await holdFolder({ file: await fileWith("half a num"), word: "node" }))();
  });

  it.runIf(existsSync("/proc/self/cmdline"))("does not take another program with the same id for it", async () => {
    const file = await fileWith(String(process.pid));
    (await holdFolder({ file, word: "no-such-word" }))();
  });
});

describe("waitUntilGone", () => {
  it("returns once the process has ended, and not before", async () => {
    const child = execa("sleep", ["0.4"]);
    const startedAt = performance.now();
    await waitUntilGone({ file: await fileWith(String(child.pid)), word: "sleep" }, 10_000);
    expect(performance.now() - startedAt).toBeGreaterThan(200);
    await child;
  });
});
