import { describe, expect, test } from "vitest";
import { readCutOffRatings, readRatings } from "../../../../ts/evaluate/judge/read-ratings.js";
import { cpuTimer } from "../../../support/timing.js";

describe("one rating", () => {
  test.each<readonly [string, number]>([
    ["A fine answer.\nRating: [[7]]", 7],
    ["[[10]]", 10],
    ["[[ 7.5 ]]", 7.5],
    ["[[7,5]]", 7.5],
    ["Rating: [[8/10]]", 8],
    ["[[Rating: 6]]", 6],
    ["It is right.\n\nRating: 7.5/10", 7.5],
    ["**Rating:** 8", 8],
    ["**Rating: 8/10**", 8],
    ["Final rating is 9 out of 10.", 9],
    ["I would give this answer a rating of 6.", 6],
    ["Good work overall.\n7/10", 7],
    ["8", 8],
    ["The ratio 3/10 is wrong; it should be 5/10.\nRating: [[2]]", 2],
    ["On a scale from 1 to 10.\nScore: 4", 4],
    ["The rating scale goes from 1 to 10. [[5]]", 5],
    ["Rating: [[6]]. So, again: [[6]]", 6],
    ["<think>Maybe [[3]]? Or Rating: 9.</think>Solid.\nRating: [[7]]", 7],
  ])("%j", (reply, rating) => {
    expect(readRatings(reply, 1)).toEqual({ ratings: [rating] });
  });
});

describe("no rating, and never 0", () => {
  test.each<readonly [string, string]>([
    ["", "empty-reply"],
    [" \n ", "empty-reply"],
    ["<think>I never came to an end", "empty-reply"],
    ["I'm sorry, but I can't grade this.", "no-rating"],
    ["The probability is 3/10, as the answer says.", "no-rating"],
    ["The score ranges from 1 to 10.", "no-rating"],
    ["Give a score of 1-10 yourself.", "no-rating"],
    ["Rating: [[seven]]", "no-rating"],
    ["Rating: N/A", "no-rating"],
    ["Rating: [[0]]", "out-of-range"],
    ["Rating: [[11]]", "out-of-range"],
    ["Rating: [[-3]]", "out-of-range"],
    ["Rating: 4/5", "out-of-range"],
    ["Rating: 70", "out-of-range"],
    ["-3", "out-of-range"],
    ["Rating: [[8]] for the first turn, [[5]] for the second", "several-ratings"],
    ["Rating: 8\nRating: 6", "several-ratings"],
  ])("%j is %s", (reply, problem) => {
    expect(readRatings(reply, 1)).toEqual({ problem });
  });
});

describe("two ratings", () => {
  test.each<readonly [string, readonly [number, number]]>([
    ["Both fine.\nAssistant A: [[8]]\nAssistant B: [[5]]", [8, 5]],
    ["Assistant B: [[5]]\nAssistant A: [[8]]", [8, 5]],
    ["**Assistant A:** [[8.5]]\n**Assistant B:** [[10]]", [8.5, 10]],
    ["Assistant A's answer a user would like.\nA: [[8]]\nB: [[5]]", [8, 5]],
    ["[[8]]\n[[5]]", [8, 5]],
    ["[[8, 5]]", [8, 5]],
    ["Assistant 1: [[3]], Assistant 2: [[4]]", [3, 4]],
    ["Assistant A: 8/10\nAssistant B: 6/10", [8, 6]],
    ["Rating for Assistant A: 7\nRating for Assistant B: 9", [7, 9]],
    ["8 5\nThe first is more complete.", [8, 5]],
    ["Assistant A: [[8]]\nAssistant B: [[5]]\nTo sum up: Assistant A [[8]], Assistant B [[5]]", [8, 5]],
    ["Assistant B is better than Assistant A. B gets [[9]] and A gets [[4]].", [4, 9]],
    ["Assistant B beats Assistant A.\n[[4]] for A, [[9]] for B", [4, 9]],
    ["[[9]] for B, which is better than A; [[4]] for Assistant A", [4, 9]],
    ["[[9]] (Assistant B), [[4]] (Assistant A)", [4, 9]],
    ["Assistant A: [[4]] (B is clearer)\nAssistant B: [[9]] (A is wrong)", [4, 9]],
    ["I give B a score of [[9]], while A's answer deserves a [[4]].", [4, 9]],
    ["Assistant B: right, and short. [[9]]\nAssistant A: wrong. [[4]]", [4, 9]],
    ["assistant b: [[9]]\nassistant a: [[4]]", [4, 9]],
    ["[[B: 9]] [[A: 4]]", [4, 9]],
    ["### Assistant B\nRight.\nRating: [[9]]\n\n### Assistant A\nWrong.\nRating: [[4]]", [4, 9]],
    ['`Assistant B` → [[9]]\n"Assistant A"\'s last reply: [[4]]', [4, 9]],
    ["| Assistant B | [[9]] |\n| Assistant A | [[4]] |", [4, 9]],
    ["The first thing to say: Assistant A is weaker than Assistant B.\n[[8]]\n[[5]]", [8, 5]],
    ["The first thing to say: Assistant B is weaker than Assistant A.\n[[8]]\n[[5]]", [8, 5]],
  ])("%j", (reply, ratings) => {
    expect(readRatings(reply, 2)).toEqual({ ratings });
  });

  test.each<readonly [string, string]>([
    ["", "empty-reply"],
    ["I can't compare them.", "no-rating"],
    ["Assistant A: [[8]]", "one-rating"],
    ["Rating: [[8]]", "one-rating"],
    ["Assistant A: [[8]], and A: [[8]] again", "one-rating"],
    ["Assistant A: [[8]], and A: [[9]] too", "several-ratings"],
    ["Assistant A: [[8]]\nAssistant B: [[11]]", "out-of-range"],
    ["Assistant A: [[8]]\nAssistant B: [[5]]\nAssistant A: [[3]]", "several-ratings"],
    ["[[8]] [[5]] [[3]]", "several-ratings"],
    ["Assistant B is better than Assistant A: [[9]]\n[[4]]", "unclear-names"],
    ["Assistant A is better than Assistant B: [[9]]\n[[4]]", "unclear-names"],
    ["Assistant B isn't [[4]]\nAssistant A is [[4]]", "unclear-names"],
    ["A loses to B: [[4]], B beats A: [[9]]", "unclear-names"],
    ["Better than Assistant A: [[9]]\nWorse than Assistant B: [[4]]", "unclear-names"],
    ["Assistant B: [[9]]\nThe other one: [[4]]", "unclear-names"],
    ["Assistant B: [[9]]\n[[4]]", "unclear-names"],
    ["[[9]]\nAssistant A: [[4]]", "unclear-names"],
    ["The second: [[9]]\nThe first: [[4]]", "unclear-names"],
    ["Assistant B, then Assistant A: [[9, 4]]", "unclear-names"],
    ["Assistant A is weaker than Assistant B: 9/10\nAssistant B is stronger than Assistant A: 4/10", "unclear-names"],
  ])("%j is %s", (reply, problem) => {
    expect(readRatings(reply, 2)).toEqual({ problem });
  });
});

describe("a reply that was cut off is read in brackets only", () => {
  test.each<readonly [string, 1 | 2, readonly number[]]>([
    ["Rating: [[7]]\nTo go on, the", 1, [7]],
    ["Assistant A: [[8]]\nAssistant B: [[10]]\nThe", 2, [8, 10]],
    ["[[8, 5]] and", 2, [8, 5]],
  ])("%j", (reply, answers, ratings) => {
    expect(readCutOffRatings(reply, answers)).toEqual({ ratings });
  });

  test.each<readonly [string, 1 | 2]>([
    ["Rating: 1", 1],
    ["7/1", 1],
    ["Rating: [[1", 1],
    ["", 1],
    ["Assistant A: 8/10\nAssistant B: 1", 2],
    ["8 1", 2],
    ["Assistant A: [[8]]\nAssistant B: [[1", 2],
  ])("%j has none", (reply, answers) => {
    expect(readCutOffRatings(reply, answers)).toHaveProperty("problem");
  });
});

test("a long reply is read in no time", () => {
  const spent = cpuTimer();
  for (const text of [
    "rating ".repeat(20_000),
    "assistant A is ".repeat(10_000),
    "[[".repeat(50_000),
    "1".repeat(100_000),
    `Assistant A scores ${"scores ratings ".repeat(10_000)}x [[7]]`,
    `${"a".repeat(100_000)}, [[7]]`,
    "[[8, 5]] A ".repeat(10_000),
    "[[8]] for A ".repeat(10_000),
  ])
    for (const answers of [1, 2] as const) expect(() => readRatings(text, answers)).not.toThrow();
  expect(spent()).toBeLessThan(2000);
});
