import { chmod, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { makeFolder, readJsonFile, readTextFile, writeFileAtomic } from "../../../ts/util/files.js";
import { temporaryFolder } from "../../support/temporary-folder.js";
import { rejectionOf } from "../../support/thrown.js";

test("makes a folder and those above it, and says where a file is in the way", async () => {
  const parent = await temporaryFolder();
  const path = join(parent, "a", "b", "c");
  makeFolder(path);
  makeFolder(path);
  expect(await readdir(path)).toEqual([]);
  await writeFile(join(parent, "file"), "");
  expect(() => makeFolder(join(parent, "file"))).toThrow("EEXIST");
  expect(() => makeFolder(join(parent, "file", "x"))).toThrow("ENOTDIR");
});

describe("writeFileAtomic", () => {
  test("makes folders, replaces a file, and leaves nothing beside it", async () => {
    const folder = await temporaryFolder();
    const path = join(folder, "deep", "state.json");
    await writeFileAtomic(path, "first");
    await writeFileAtomic(path, "second, ä");
    expect(await readFile(path, "utf8")).toBe("second, ä");
    expect(await readdir(join(folder, "deep"))).toEqual(["state.json"]);
  });

  test("a failure leaves the old state whole and is run/disk", async () => {
    const folder = await temporaryFolder();
    // Renaming a file onto a folder that holds something fails for every user, root too.
    await mkdir(join(folder, "state.json"));
    await writeFile(join(folder, "state.json", "inside"), "old");
    const error = await rejectionOf(writeFileAtomic(join(folder, "state.json"), "new"), "run/disk");
    expect(error.file).toBe(join(folder, "state.json"));
    expect(error.cause).toBeInstanceOf(Error);
    expect(await readdir(folder)).toEqual(["state.json"]);
    expect(await readFile(join(folder, "state.json", "inside"), "utf8")).toBe("old");
  });

  test("a folder that may not be written is run/disk", async ({ skip }) => {
    if (process.getuid?.() === 0) skip("root may write everywhere");
    const folder = await temporaryFolder();
    await chmod(folder, 0o500);
    await rejectionOf(writeFileAtomic(join(folder, "state.json"), "new"), "run/disk");
    await chmod(folder, 0o700);
  });
});

describe("reading", () => {
  test("takes a byte order mark off", async () => {
    const path = join(await temporaryFolder(), "a.json");
    await writeFile(path, '\uFEFF{"a":1}');
    expect(await readJsonFile(path)).toEqual({ a: 1 });
  });

  test("a missing file and a folder are input/missing-file with the absolute path", async () => {
    const folder = await temporaryFolder();
    const missing = await rejectionOf(readTextFile(join(folder, "no.json")), "input/missing-file");
    expect(missing.file).toBe(join(folder, "no.json"));
    expect(missing.found).toBe("no such file");
    expect((await rejectionOf(readTextFile(folder), "input/missing-file")).found).toBe("a folder");
  });

  test("a file that is not JSON is input/invalid-spec", async () => {
    const path = join(await temporaryFolder(), "a.json");
    await writeFile(path, "{a: 1}");
    expect((await rejectionOf(readJsonFile(path), "input/invalid-spec")).message).toContain(path);
  });
});
