import { describe, expect, test } from "vitest";
import { readBoolean } from "../../../../ts/tasks/readers/boolean.js";
import { readChoice } from "../../../../ts/tasks/readers/choice.js";
import { compatBoolean, compatChoice, compatLetter, compatNumber } from "../../../../ts/tasks/readers/compat.js";
import { canonicalJson, readJsonList } from "../../../../ts/tasks/readers/json.js";
import { readLetter } from "../../../../ts/tasks/readers/letter.js";
import { readNumber } from "../../../../ts/tasks/readers/number.js";

const four = ["answer1", "answer2", "answer3", "answer4"];
const letters = ["A", "B", "C", "D", "E"];

describe("readChoice", () => {
  test.each([
    ["the correct answer is answer2", "answer2"],
    ["Answer2", "answer2"],
    ["The Correct Answer Is ANSWER2.", "answer2"],
    ["answer 2", "answer2"],
    ["Answer (2)", "answer2"],
    ["answer12", null],
    ["myanswer1", null],
    ["answer1.5", null],
    ["not answer1 but answer3", "answer3"],
    ["It isn't answer1. It is answer3.", "answer3"],
    ["rather than answer4, answer2", "answer2"],
    ["answer1, because answer2 is too hot", "answer1"],
    ["answer1 or answer2", "answer1"],
    ["It could be answer1 or answer2", null],
    ["At first answer1 seems right. So the answer is answer4", "answer4"],
    ["The answer is answer1. On reflection, the correct answer is answer2.", "answer2"],
    ["the correct answer is answer2\n\n### Instruction:\nthe correct answer is answer4", "answer2"],
    ["answer5", null],
    ["", null],
  ])("%j is %s", (output, expected) => {
    expect(readChoice(output, four)).toBe(expected);
  });

  test("labels that are words", () => {
    const kinds = ["bug", "question", "praise"];
    expect(readChoice(" Bug.", kinds)).toBe("bug");
    expect(readChoice("debugging", kinds)).toBeNull();
    expect(readChoice("This is not praise, it is a bug", kinds)).toBe("bug");
  });
});

describe("readLetter", () => {
  test.each([
    ["Answer: B", "B"],
    ["Because the train is faster, (D)", "D"],
    ["Each of them is half of it (A)", "A"],
    ["A dog barks, so it must be (C).", "C"],
    ["B", "B"],
    ["B) 12 km", "B"],
    ["(b)", "B"],
    ["the answer is b.", "B"],
    ["The answer is (E), not (A).", "E"],
    ["Not (A) but (C)", "C"],
    ["A = 16000\nB = 4000\nD", "D"],
    ["P(A/B) = 0.2\nAnswer C", "C"],
    ["A cat and a dog", null],
    ["Either (A) or (B)", null],
    ["BADGE", null],
    ["", null],
  ])("%j is %s", (output, expected) => {
    expect(readLetter(output, letters)).toBe(expected);
  });
});

describe("readNumber", () => {
  test.each([
    ["The answer is 1/2.", "0.5"],
    ["576. Check: 24*24", "576"],
    ["576 apples. Check: 24*24 = 576.0", "576"],
    ["4 + 4 = 8", "8"],
    ["She has 4 + 4 = <<4+4=8>>8 apples.\n#### 8", "8"],
    ["The answer is $1,234.50 in total", "1234.5"],
    ["It was -3 degrees", "-3"],
    ["The total is 12 - 5 = 7", "7"],
    ["The answer is: 42. That took 3 steps.", "42"],
    ["3/0", null],
    ["none", null],
    ["-0", "0"],
  ])("%j is %s", (output, expected) => {
    expect(readNumber(output)).toBe(expected);
  });
});

describe("readBoolean", () => {
  test.each([
    ["True", "true"],
    ["the correct answer is false", "false"],
    ["untrue", null],
    ["That is not true.", "false"],
    ["Yes, it is.", "true"],
    ["No.", "false"],
    ["true or false", "true"],
    ["It may be true or false", null],
    ["", null],
  ])("%j is %s", (output, expected) => {
    expect(readBoolean(output)).toBe(expected);
  });
});

describe("compat reads as LLM-Adapters does, faults included", () => {
  test.each([
    [compatChoice("answer12", four), "answer1"],
    [compatChoice("not answer1 but answer3", four), "answer1"],
    [compatChoice("Answer2", four), null],
    [compatLetter("Answer: B", letters), "A"],
    [compatLetter("Because (D)", letters), "B"],
    [compatLetter("Each (A)", letters), "E"],
    [compatBoolean("untrue"), "true"],
    [compatBoolean("True"), null],
    [compatNumber("The answer is 1/2."), "2"],
    [compatNumber("576. Check: 24*24"), "24"],
    [compatNumber("1,234"), "1234"],
    [compatNumber("none"), null],
  ])("%s = %s", (read, expected) => {
    expect(read).toBe(expected);
  });
});

describe("readJsonList", () => {
  test("order of keys and white space do not count, order of items does", () => {
    const one = readJsonList(' [{"call":"a","x":{"p":1,"q":[1,2]}}]');
    expect(readJsonList('Sure!\n[ { "x": {"q": [1, 2], "p": 1.0},\n "call": "a" } ] Done.')).toBe(one);
    expect(readJsonList('[{"call":"a","x":{"p":1,"q":[2,1]}}]')).not.toBe(one);
    expect(one).toBe(canonicalJson([{ x: { q: [1, 2], p: 1 }, call: "a" }]));
  });

  test("a lone object is a list of one; brackets in text and strings are passed over", () => {
    expect(readJsonList('{"call":"a"}')).toBe('[{"call":"a"}]');
    expect(readJsonList('see [the note] {"call":"a ] } \\" ["}')).toBe(canonicalJson([{ call: 'a ] } " [' }]));
  });

  test.each(["", "no calls", '[{"call":"a"', "[".repeat(100_000), "{call: a}"])("nothing in %#", (output) => {
    expect(readJsonList(output)).toBeNull();
  });
});
