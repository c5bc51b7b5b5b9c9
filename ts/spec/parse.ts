import { z } from "zod";
import { MiloraError } from "../errors.js";
import { nearest } from "../util/did-you-mean.js";

type Issue = z.core.$ZodIssue;

const pathText = (path: readonly PropertyKey[]): string =>
  path.reduce<string>((text, key) => {
    if (typeof key === "number") return `${text}[${key}]`;
    return text === "" ? String(key) : `${text}.${String(key)}`;
  }, "");

const valueAt = (value: unknown, path: readonly PropertyKey[]): unknown => {
  let at = value;
  for (const key of path) {
    if (typeof at !== "object" || at === null) return undefined;
    at = Reflect.get(at, key);
  }
  return at;
};

const shown = (value: unknown): string => {
  const text = JSON.stringify(value);
  if (text === undefined) return "nothing";
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
};

/** Every property name and every literal string that a schema knows, for "did you mean". */
const knownNames = (schema: z.ZodType): readonly string[] => {
  const names = new Set<string>();
  const visit = (node: unknown): void => {
    if (Array.isArray(node)) node.forEach(visit);
    else if (typeof node === "object" && node !== null) {
      for (const [key, child] of Object.entries(node)) {
        if (key === "properties" && typeof child === "object" && child !== null)
          Object.keys(child).forEach((name) => names.add(name));
        if (key === "const" && typeof child === "string") names.add(child);
        if (key === "enum" && Array.isArray(child))
          child.forEach((name) => typeof name === "string" && names.add(name));
        visit(child);
      }
    }
  };
  visit(z.toJSONSchema(schema, { io: "input" }));
  return [...names];
};

const suggestion = (name: unknown, names: readonly string[]): string => {
  const candidate = typeof name === "string" ? nearest(name, names) : undefined;
  return candidate === undefined || candidate === name ? "" : ` Did you mean "${candidate}"?`;
};

/** One sentence a problem; of a union only the branch that fits best is told. */
const problemsOf = (issue: Issue, input: unknown, names: readonly string[]): readonly string[] => {
  const where = pathText(issue.path) || "the top level";
  if (issue.code === "unrecognized_keys")
    return issue.keys.map(
      (key) => `${pathText([...issue.path, key])}: this field is not known here.${suggestion(key, names)}`,
    );
  if (issue.code === "invalid_union" && issue.discriminator !== undefined) {
    const path = [
      ...issue.path.slice(0, issue.path.at(-1) === issue.discriminator ? -1 : undefined),
      issue.discriminator,
    ];
    const found = valueAt(input, path);
    const options = "options" in issue && Array.isArray(issue.options) ? issue.options.map(String) : [];
    const allowed = options.length > 0 ? ` Allowed: ${options.join(", ")}.` : "";
    return [
      `${pathText(path)}: found ${shown(found)}.${suggestion(found, options.length > 0 ? options : names)}${allowed}`,
    ];
  }
  if (issue.code === "invalid_union") {
    const [best] = issue.errors.toSorted((a, b) => a.length - b.length);
    return (best ?? []).flatMap((inner) =>
      problemsOf({ ...inner, path: [...issue.path, ...inner.path] }, input, names),
    );
  }
  const found = valueAt(input, issue.path);
  const hint = issue.code === "invalid_value" ? suggestion(found, names) : "";
  return [`${where}: ${issue.message} (found ${shown(found)}).${hint}`];
};

/**
 * Checks a value against a schema and fills its defaults.
 * @throws MiloraError `input/invalid-spec` that lists every problem with its JSON path.
 */
export const parseWith = <Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
  { what, file }: { readonly what: string; readonly file?: string | undefined },
): z.output<Schema> => {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const names = knownNames(schema);
  const problems = result.error.issues.flatMap((issue) => problemsOf(issue, value, names));
  const count = problems.length === 1 ? "one problem" : `${problems.length} problems`;
  const place = file === undefined ? what : `${what} ${file}`;
  throw new MiloraError(
    "input/invalid-spec",
    `${place} has ${count}:\n${problems.map((line) => `  - ${line}`).join("\n")}`,
    {
      problems,
      file,
      path: pathText(result.error.issues[0]?.path ?? []),
    },
  );
};
