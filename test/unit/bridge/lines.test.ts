import { expect, test } from "vitest";
import { lineSplitter, Tail } from "../../../ts/bridge/lines.js";

test("lines are whole, whatever the chunks cut, also in the middle of a character", () => {
  const bytes = Buffer.from("first \u4E16\r\nsecond\n\nlast");
  for (let size = 1; size <= bytes.length; size += 1) {
    const lines: string[] = [];
    const splitter = lineSplitter((line) => lines.push(line));
    for (let start = 0; start < bytes.length; start += size) splitter.push(bytes.subarray(start, start + size));
    splitter.end();
    expect(lines).toEqual(["first \u4E16", "second", "", "last"]);
  }
});

test("a tail keeps the last lines, cut at 2,000 characters", () => {
  const tail = new Tail(2);
  for (const line of ["one", "two", "x".repeat(3000)]) tail.add(line);
  expect(tail.toString()).toBe(`two\n${"x".repeat(2000)}`);
});
