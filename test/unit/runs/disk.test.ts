import { describe, expect, it } from "vitest";
import { checkFreeSpace, diskError } from "../../../ts/runs/disk.js";
import { temporaryFolder } from "../../support/temporary-folder.js";

/** What a function throws. */
const thrown = (work: () => void): unknown => {
  try {
    work();
  } catch (error) {
    return error;
  }
  throw new Error("It did not throw.");
};

describe("the disk", () => {
  it("is asked before a save whether there is room", async () => {
    const folder = await temporaryFolder();
    checkFreeSpace(folder, 1);
    expect(thrown(() => checkFreeSpace(folder, 2 ** 60))).toMatchObject({
      code: "run/disk",
      file: folder,
      hint: expect.stringContaining("--resume"),
    });
  });

  it.each([
    ["ENOSPC", "the disk is full"],
    ["EROFS", "it is read-only"],
    ["EACCES", "it may not be written by this user"],
  ])("tells %s in words", (code, words) => {
    const cause = Object.assign(new Error("refused"), { code });
    expect(diskError(cause, { what: "The record", file: "run/events.jsonl" })).toMatchObject({
      code: "run/disk",
      message: `The record run/events.jsonl could not be written: ${words} (${code}).`,
      cause,
    });
  });

  it("leaves other errors as they are", () => {
    const other = new Error("something else");
    expect(diskError(other, { what: "The record", file: "x" })).toBe(other);
  });
});
