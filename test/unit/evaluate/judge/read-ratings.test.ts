import { describe, expect, test } from "vitest";
import { readRatings } from "../../../../ts/evaluate/judge/read-ratings.js";

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
  ])("%j is %s", (reply, problem) => {
    expect(readRatings(reply, 2)).toEqual({ problem });
  });
});

test("a long reply without a rating is read in no time", () => {
  const started = performance.now();
  for (const text of [
    "rating ".repeat(20_000),
    "assistant A is ".repeat(10_000),
    "[[".repeat(50_000),
    "1".repeat(100_000),
  ])
    for (const answers of [1, 2] as const) expect(readRatings(text, answers)).toHaveProperty("problem");
  expect(performance.now() - started).toBeLessThan(2000);
});
