/**
 * JSON Schemas, generated from the zod schemas of ts/spec/registry.ts and ts/backend/ops.ts.
 *   (no argument)  writes schemas/
 *   --check        fails where schemas/ is not what would be written
 */
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { ops } from "../ts/backend/ops.js";
import { specSchemas } from "../ts/spec/registry.js";

const folder = fileURLToPath(new URL("../schemas/", import.meta.url));

/** What a person or a program may write: fields with defaults are optional. */
const toJsonSchema = (schema: z.ZodType) => z.toJSONSchema(schema, { io: "input" });

const opSchemas = Object.fromEntries(
  Object.entries(ops).map(([name, { input, output }]) => [
    name,
    { input: toJsonSchema(input), output: toJsonSchema(output) },
  ]),
);

const documents: Readonly<Record<string, unknown>> = {
  ...Object.fromEntries(Object.entries(specSchemas).map(([name, schema]) => [name, toJsonSchema(schema)])),
  ops: opSchemas,
};

const expected = new Map(
  Object.entries(documents).map(([name, value]) => [`${name}.json`, `${JSON.stringify(value, null, 2)}\n`]),
);

const present = existsSync(folder) ? readdirSync(folder) : [];
const unexpected = present.filter((name) => !expected.has(name));

const check = (): number => {
  const differing = [...expected].filter(([name, text]) => {
    const file = join(folder, name);
    return !existsSync(file) || readFileSync(file, "utf8") !== text;
  });
  const names = [...differing.map(([name]) => name), ...unexpected];
  if (names.length > 0) console.error(`schemas/ is out of date (${names.join(", ")}); run: npm run schemas`);
  return names.length === 0 ? 0 : 1;
};

const write = (): void => {
  mkdirSync(folder, { recursive: true });
  for (const name of unexpected) rmSync(join(folder, name));
  for (const [name, text] of expected) writeFileSync(join(folder, name), text);
};

if (process.argv.includes("--check")) process.exitCode = check();
else write();
