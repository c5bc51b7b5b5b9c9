import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { errorCodes } from "../../../ts/errors.js";
import { dataSchema } from "../../../ts/spec/data.js";
import { tasks } from "../../../ts/tasks/registry.js";

const page = await readFile(fileURLToPath(new URL("../../../docs/data.md", import.meta.url)), "utf8");

test("every example of docs/data.md is a data spec", () => {
  const examples = [...page.matchAll(/```json\n(?<text>[^]*?)```/g)].map(({ groups }) => groups?.["text"] ?? "");
  expect(examples.length).toBeGreaterThan(5);
  for (const text of examples) expect(() => dataSchema.parse(JSON.parse(text))).not.toThrow();
});

test("its tables name the sources that the tasks have, and codes that there are", () => {
  for (const { name, hub } of Object.values(tasks)) {
    const row = page.split("\n").find((line) => line.startsWith("| ") && line.split("|")[1]?.includes(name) === true);
    if (hub !== undefined) expect(row).toContain(hub.id);
  }
  const codes = [...page.matchAll(/`(?<code>(?:data|input|environment)\/[a-z-]+)`/g)].map(
    ({ groups }) => groups?.["code"],
  );
  for (const code of codes) expect(errorCodes).toContain(code);
});
