import { expect, test } from "vitest";
import { nearest, unknownNameMessage } from "../../../ts/util/did-you-mean.js";

const tasks = ["arc-easy", "arc-challenge", "openbookqa", "smart-home"];

test.each([
  ["arc-esy", "arc-easy"],
  ["arc_easy", "arc-easy"],
  ["ARC Easy", "arc-easy"],
  ["acr-easy", "arc-easy"],
  ["openbook", "openbookqa"],
  ["smarthome", "smart-home"],
])("%s was meant to be %s", (name, expected) => {
  expect(nearest(name, tasks)).toBe(expected);
});

test("nothing is guessed for a name that is far from all, or from none", () => {
  expect(nearest("wikitext", tasks)).toBeUndefined();
  expect(nearest("arc-easy", [])).toBeUndefined();
});

test("the message names the guess and all that is known", () => {
  expect(unknownNameMessage("task", "arc-esy", tasks)).toBe(
    'Unknown task "arc-esy": did you mean "arc-easy"? Known: arc-easy, arc-challenge, openbookqa, smart-home.',
  );
  expect(unknownNameMessage("task", "wikitext", ["a"])).toBe('Unknown task "wikitext": Known: a.');
});
