import { expect, test } from "vitest";
import { readBoolean } from "../../../../ts/tasks/readers/boolean.js";
import { readChoiceText } from "../../../../ts/tasks/readers/choice-text.js";
import { readChoice } from "../../../../ts/tasks/readers/choice.js";
import { compatBoolean, compatChoice, compatLetter, compatNumber } from "../../../../ts/tasks/readers/compat.js";
import { readJsonList } from "../../../../ts/tasks/readers/json.js";
import { readLetter } from "../../../../ts/tasks/readers/letter.js";
import { readNumber } from "../../../../ts/tasks/readers/number.js";
import { readStatedText } from "../../../../ts/tasks/readers/stated.js";
import { cpuTimer } from "../../../support/timing.js";

const letters = ["A", "B", "C", "D", "E"];
const labels = ["answer1", "answer2"];

const readers: Readonly<Record<string, (output: string) => unknown>> = {
  readBoolean,
  readChoice: (output) => readChoice(output, labels),
  readChoiceText: (output) => readChoiceText(output, labels),
  readJsonList,
  readLetter: (output) => readLetter(output, letters),
  readNumber,
  readStatedText,
  compatBoolean,
  compatChoice: (output) => compatChoice(output, labels),
  compatLetter: (output) => compatLetter(output, letters),
  compatNumber,
};

const pieces = [
  "a", " ", "\n", "\n ", "A ", "(A) ", "(B)\n", "= A ", "1", "1,", "1,000,000 ", "-1/2 ", "answer", "answer1 ", "answer is ",
  "the answer is (", "not ", "true ", "no, yes. ", "[", "{", '"', "\\", ". ", "?", "é", "😀", "\u0000", "### ",
]; // prettier-ignore

test.each(Object.keys(readers))("%s reads 100 kB of anything in less than a second", (name) => {
  for (const piece of pieces) {
    const output = piece.repeat(Math.ceil(100_000 / piece.length));
    const spent = cpuTimer();
    readers[name]?.(output);
    readers[name]?.(`${output}The answer is (B).`);
    expect([piece, spent() < 1000]).toEqual([piece, true]);
  }
});

test("an answer after 100 kB is still found", () => {
  const output = `${"So A = 4 and so on. ".repeat(5000)}The answer is (B), which is 12.`;
  expect(readLetter(output, letters)).toBe("B");
  expect(readNumber(output)).toBe("12");
  expect(readStatedText(output)).toBe("(B), which is 12");
});
