/** Writes the pages of the reference that come from the program itself: commands with their help, fields of a spec. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Command } from "commander";
import { z } from "zod";
import { leafCommands } from "../ts/cli/examples.js";
import { registerCommands } from "../ts/cli/register.js";
import { dataSchema } from "../ts/spec/data.js";
import { methodSchema } from "../ts/spec/method.js";
import { runSchema } from "../ts/spec/run.js";
import { sweepSchema } from "../ts/spec/sweep.js";
import { trainSchema } from "../ts/spec/train.js";
import { isRecord } from "../ts/util/records.js";

const helpOf = (command: Command): string => {
  let text = "";
  command.configureOutput({ writeOut: (part) => (text += part), getOutHelpWidth: () => 100 }).outputHelp();
  return text.trim();
};

const commandPage = (): string => {
  const program = new Command("milora");
  registerCommands(program);
  const parts = leafCommands(program).map(
    ([name, command]) => `## milora ${name}\n\n${command.description()}\n\n\`\`\`text\n${helpOf(command)}\n\`\`\``,
  );
  const head =
    "# Command line\n\nPeople read stderr, programs stdout: with `--json` that is one JSON document. Exit codes: 0 done, 1 failed, 2 the input is wrong, 130 interrupted. In a checkout it is `npm run milora --` in place of `milora`.";
  return `${[head, ...parts].join("\n\n")}\n`;
};

type Schema = Readonly<Record<string, unknown>>;

const textOf = (value: unknown, otherwise: string): string => (typeof value === "string" ? value : otherwise);

const listOf = (value: unknown): readonly Schema[] => (Array.isArray(value) ? value.filter(isRecord) : []);

const code = (value: unknown): string => `\`${typeof value === "string" ? value : JSON.stringify(value)}\``;

const bounds = (schema: Schema): string => {
  const limits = { minimum: "≥", exclusiveMinimum: ">", maximum: "≤", exclusiveMaximum: "<" } as const;
  const parts = Object.entries(limits).flatMap(([key, sign]) =>
    typeof schema[key] === "number" && Math.abs(schema[key]) < 1e15 ? [`${sign} ${schema[key]}`] : [],
  );
  return parts.length === 0 ? "" : ` (${parts.join(", ")})`;
};

/** A schema in a few words; alternatives stand side by side. */
const typeText = (schema: Schema): string => {
  if (schema["const"] !== undefined) return code(schema["const"]);
  if (Array.isArray(schema["enum"])) return schema["enum"].map(code).join(", ");
  const choices = [...listOf(schema["anyOf"]), ...listOf(schema["oneOf"])];
  if (choices.length > 3 && choices.every(({ properties }) => isRecord(properties)))
    return `one of ${choices.length} forms, below`;
  if (choices.length > 0) return [...new Set(choices.map(typeText))].join(" or ");
  if (schema["type"] === "array") return `list of ${isRecord(schema["items"]) ? typeText(schema["items"]) : "values"}`;
  const fields = isRecord(schema["properties"]) ? Object.keys(schema["properties"]) : [];
  if (fields.length > 8) return "an object, below";
  if (fields.length > 0) return `{ ${fields.join(", ")} }`;
  if (schema["type"] === "object") return "object";
  return `${textOf(schema["type"], "any")}${bounds(schema)}`;
};

const cell = (text: string): string => text.replaceAll("|", "\\|").replaceAll("\n", " ").replaceAll("<", "&lt;");

const table = (schema: Schema): string => {
  const fields = isRecord(schema["properties"]) ? Object.entries(schema["properties"]) : [];
  const required = Array.isArray(schema["required"]) ? schema["required"] : [];
  const rows = fields.flatMap(([name, field]) => {
    if (!isRecord(field)) return [];
    const standard = field["default"];
    const byDefault = standard !== undefined ? code(standard) : required.includes(name) ? "must be given" : "–";
    return [`| \`${name}\` | ${cell(typeText(field))} | ${byDefault} | ${cell(textOf(field["description"], ""))} |`];
  });
  return ["| field | is | default | |", "| --- | --- | --- | --- |", ...rows].join("\n");
};

const jsonSchema = (schema: z.ZodType): Schema => ({ ...z.toJSONSchema(schema, { io: "input" }) });

const kindOf = (schema: Schema): string => {
  const properties = isRecord(schema["properties"]) ? schema["properties"] : {};
  return isRecord(properties["kind"]) ? String(properties["kind"]["const"]) : "";
};

const dataTitles = ["A task", "Files", "The hub", "A mix by rows", "A mix by temperature"];

const specPage = (): string => {
  const methods = listOf(jsonSchema(methodSchema)["oneOf"]);
  const sources = listOf(jsonSchema(dataSchema)["anyOf"]);
  return [
    "# Spec",
    "The spec of a run, as JSON, YAML or the default export of a module; `milora schema` prints the JSON Schema. A field without a default may be left out unless it must be given.",
    table(jsonSchema(runSchema)),
    "## data",
    "One of these forms; [data](../data.md) explains them.",
    ...sources.flatMap((source, index) => [`### ${dataTitles[index] ?? "Another form"}`, table(source)]),
    "## train",
    table(jsonSchema(trainSchema)),
    "## method",
    "`kind` names the method; [methods](../methods/index.md) compares them.",
    ...methods.flatMap((method) => [`### ${kindOf(method)}`, table(method)]),
    "## The spec of a sweep",
    "`milora schema sweep` prints the JSON Schema; [sweeps](../decisions/sweeps.md) explains it.",
    table(jsonSchema(sweepSchema)),
    "",
  ].join("\n\n");
};

const overview = `# Reference

| | |
| --- | --- |
| [Command line](cli.md) | every command, its options and examples |
| [Spec](spec.md) | every field of a run's and a sweep's spec, with default and bounds |
| [TypeScript](typescript/index.md) | all that \`import … from "milora"\` gives |
| [Python](python.md) | all that \`import milora\` gives |
| [Events](../events.md) | what a run tells |
`;

const [, , folder = "docs/.site/reference"] = process.argv;
mkdirSync(folder, { recursive: true });
for (const [name, text] of Object.entries({ "cli.md": commandPage(), "spec.md": specPage(), "index.md": overview }))
  writeFileSync(join(folder, name), text);
