import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { z } from "zod";
import { defineTask } from "../../../ts/tasks/define-task.js";
import { readChoice } from "../../../ts/tasks/readers/choice.js";
import { temporaryFolder } from "../../support/temporary-folder.js";
import { rejectionOf } from "../../support/thrown.js";

const ticket = z.object({ text: z.string(), kind: z.string() });

const triage = defineTask({
  name: "triage",
  version: 1,
  choices: ["bug", "question", "praise"],
  prompt: (row) => `Ticket: ${row.text}\nKind:`,
  answer: (row) => row.kind,
  read: readChoice,
  metric: "accuracy",
  parse: (value: unknown) => ticket.parse(value),
});

test("renders, reads and knows its chance", () => {
  const row = { text: "It crashes", kind: "bug" };
  expect(triage.render(row, "default")).toEqual({
    prompt: "Ticket: It crashes\nKind:",
    answer: " bug",
    choices: [" bug", " question", " praise"],
    choiceLabels: ["bug", "question", "praise"],
    chat: false,
  });
  expect(triage.read("A bug!", row, "robust").answer).toBe("bug");
  expect(triage.chance).toBeCloseTo(1 / 3);
  expect(triage.scorers).toEqual(["generate", "loglik"]);
});

test("loads lines of its folder and names the line that its parse refuses", async () => {
  const dir = await temporaryFolder();
  await mkdir(join(dir, "triage"));
  const file = join(dir, "triage", "test.jsonl");
  await writeFile(file, '{"text":"Hi","kind":"praise"}\n\n');
  expect(await triage.load({ dir, split: "test" })).toEqual([{ text: "Hi", kind: "praise" }]);
  await writeFile(file, '{"text":"Hi","kind":"praise"}\n{"text":"Hi"}\n');
  expect(await rejectionOf(triage.load({ dir, split: "test" }), "data/bad-row")).toMatchObject({ file, line: 2 });
  await rejectionOf(triage.load({ split: "test" }), "input/missing-file");
});

test("free text is compared whole", async () => {
  const echo = defineTask({
    name: "echo",
    version: 2,
    prompt: (row: { readonly text: string }) => row.text,
    answer: (row) => row.text,
    load: () => Promise.resolve([{ text: "one" }]),
  });
  const [row] = await echo.load({ split: "test" });
  if (row === undefined) throw new Error("no row");
  expect(echo.read(" one \n", row, "robust").answer).toBe("one");
  expect(echo.read("  ", row, "robust").answer).toBeNull();
  expect(echo.metric).toBe("exact-match");
  expect(echo.render(row, "default").choices).toBeUndefined();
});
