import { describe, expect, test } from "vitest";
import { judgePrompt, judgeTemplate, judgeTemplates } from "../../../../ts/evaluate/judge/prompts.js";

const material = {
  messages: ["asks", "asks more"],
  references: ["right", "right too"],
  replies: [
    ["a1", "a2"],
    ["b1", "b2"],
  ],
};

describe("a prompt for the judge", () => {
  test("shows the graded turn and what came before it, no later one", () => {
    const first = judgePrompt("single", 1, { ...material, references: [] });
    expect(first.referenced).toBe(false);
    expect(first.prompt).toContain("<user_message_1>\nasks\n</user_message_1>\n\n<reply_1>\na1\n</reply_1>");
    expect(first.prompt).not.toMatch(/asks more|a2|correct_answer/);
    const second = judgePrompt("single", 2, { ...material, references: [] }).prompt;
    expect(second).toContain("grade the assistant's last reply, and only that one");
    expect(second.indexOf("a1")).toBeLessThan(second.indexOf("asks more"));
    expect(second.indexOf("asks more")).toBeLessThan(second.indexOf("a2"));
  });

  test("shows right answers where there is one for each turn so far", () => {
    expect(judgePrompt("single", 1, material).prompt).toContain("<correct_answer_1>\nright\n</correct_answer_1>");
    expect(judgePrompt("single", 2, material).prompt).toContain("<correct_answer_2>\nright too\n</correct_answer_2>");
    const short = judgePrompt("single", 2, { ...material, references: ["right"] });
    expect(short).toMatchObject({ referenced: false });
    expect(short.prompt).not.toContain("right");
  });

  test("shows both answers, each under its name", () => {
    const { prompt } = judgePrompt("pairwise", 2, material);
    expect(prompt).toContain(
      "<assistant_A_reply_2>\na2\n</assistant_A_reply_2>\n\n<assistant_B_reply_2>\nb2\n</assistant_B_reply_2>",
    );
    expect(prompt.endsWith("Assistant A: [[number]]\nAssistant B: [[number]]")).toBe(true);
  });

  test("leaves what looks like a placeholder in an answer as it is", () => {
    const { prompt } = judgePrompt("single", 1, { ...material, replies: [["$& {message1} {replyA1} $1"]] });
    expect(prompt).toContain("<reply_1>\n$& {message1} {replyA1} $1\n</reply_1>");
  });
});

test("the templates of a mode have their own names, texts and checksum", () => {
  const single = judgeTemplates("single", 2);
  expect(Object.keys(single.texts)).toEqual([
    "single-turn-1",
    "single-turn-1-with-references",
    "single-turn-2",
    "single-turn-2-with-references",
  ]);
  expect(single.texts["single-turn-2"]).toBe(judgeTemplate({ mode: "single", turn: 2, referenced: false }));
  expect(new Set(Object.values(single.texts)).size).toBe(4);
  expect(single.hash).toMatch(/^[0-9a-f]{8}$/);
  expect(judgeTemplates("pairwise", 2).hash).not.toBe(single.hash);
});
