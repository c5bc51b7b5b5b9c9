import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { tasks } from "../../../ts/tasks/registry.js";
import type { Rendered, Task } from "../../../ts/tasks/task.js";
import { madeUpData } from "../../support/made-up-tasks.js";

/** Golden files are written anew by `UPDATE_GOLDEN=1`, and reviewed as a diff. */
const update = process.env["UPDATE_GOLDEN"] === "1";

const goldenFolder = fileURLToPath(new URL("../../golden/prompts", import.meta.url));

/** Brackets show where a text ends: a space before them counts. */
const shownRow = ({ prompt, answer, choices = [], choiceLabels = [] }: Rendered): string =>
  [
    `prompt ⟦${prompt}⟧`,
    `answer ⟦${answer}⟧`,
    ...choices.map((choice, index) => `choice ${choiceLabels[index]} ⟦${choice}⟧`),
  ].join("\n");

const secondTurn = (task: Task, example: unknown, template: string): readonly string[] => {
  const next = task.nextPrompt?.(example, template, ["(the first answer)"]);
  if (next === undefined) return [];
  const { prompt, messages } = next;
  const said = messages?.map(({ role, content }) => `second turn, ${role} ⟦${content}⟧`);
  return said ?? [`second turn ⟦${prompt}⟧`];
};

/** BBH has a row for each of its tasks, as each has a prompt of its own. */
const rowsShown = (task: Task): number => (task.name === "bbh" ? 27 : 2);

const goldenText = async (task: Task): Promise<string> => {
  const split = task.splits.includes("test") ? "test" : "train";
  const dir = await madeUpData();
  const examples = (await task.load({ dir, split, rows: rowsShown(task), seed: 0 })).slice(0, rowsShown(task));
  const parts = task.templates.flatMap((template) =>
    examples.flatMap((example, index) => [
      `==== ${task.name} v${task.version}, template ${template}, row ${index + 1}`,
      shownRow(task.render(example, template)),
      ...secondTurn(task, example, template),
      `correct ⟦${task.correct(example)}⟧\n`,
    ]),
  );
  return parts.join("\n");
};

test.each(Object.values(tasks).map((task) => [task.name, task] as const))(
  "%s asks as its golden file says",
  async (name, task) => {
    const file = join(goldenFolder, `${name}.txt`);
    const text = await goldenText(task);
    if (update) {
      await mkdir(goldenFolder, { recursive: true });
      await writeFile(file, text);
    }
    expect(text).toBe(await readFile(file, "utf8"));
  },
);

test.each(Object.values(tasks).map((task) => [task.name, task] as const))(
  "%s: what training teaches is read as the right answer, under every template",
  async (_name, task) => {
    if (task.metric === "judged") return;
    const dir = await madeUpData();
    const split = task.splits.includes("test") ? "test" : "train";
    for (const example of await task.load({ dir, split, rows: 5, seed: 0 }))
      for (const template of task.templates) {
        const { answer } = task.render(example, template);
        expect([template, task.read(answer, example, "robust", template).answer]).toEqual([
          template,
          task.correct(example),
        ]);
      }
  },
);

test("every template has a hash of its own text", () => {
  for (const task of Object.values(tasks)) {
    const sources = task.templates.map((template) => task.templateSource(template));
    expect(new Set(sources).size).toBe(task.templates.length);
  }
});
