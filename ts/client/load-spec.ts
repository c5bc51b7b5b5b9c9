import { extname, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { MiloraError } from "../errors.js";
import { parseWith } from "../spec/parse.js";
import { withMethodPreset } from "../spec/presets.js";
import { runSchema, type RunSpec } from "../spec/run.js";
import { readJsonFile, readTextFile } from "../util/files.js";
import { isRecord } from "../util/records.js";

const readYaml = async (file: string): Promise<unknown> => {
  const { parse } = await import("yaml");
  const text = await readTextFile(file, "the spec");
  try {
    return parse(text);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new MiloraError("input/invalid-spec", `${file} is not YAML: ${reason}`, { file, allowed: "YAML", cause });
  }
};

/** The default export of a module; TypeScript is compiled by tsx. */
const readModule = async (file: string): Promise<unknown> => {
  await readTextFile(file, "the spec");
  const { tsImport } = await import("tsx/esm/api");
  const module: unknown = await tsImport(pathToFileURL(file).href, import.meta.url);
  let value = isRecord(module) ? module["default"] : undefined;
  // A file that node takes for CommonJS arrives with its exports one level deeper.
  if (isRecord(value) && "__esModule" in value) value = value["default"];
  if (value === undefined)
    throw new MiloraError(
      "input/invalid-spec",
      `${file} has no default export; a spec module exports its spec as default.`,
      { file },
    );
  return value;
};

const readSpecFile = (file: string): Promise<unknown> => {
  const extension = extname(file).toLowerCase();
  if (extension === ".yaml" || extension === ".yml") return readYaml(file);
  if ([".ts", ".mts", ".js", ".mjs"].includes(extension)) return readModule(file);
  return readJsonFile(file, "the spec");
};

const parseValue = (text: string): unknown => {
  try {
    const value: unknown = JSON.parse(text);
    return value;
  } catch {
    return text;
  }
};

/**
 * A copy of `value` with `path=value` assignments made: `train.epochs=2`, `method.kind=lora`.
 * What is JSON is read as JSON, everything else is text.
 * @throws MiloraError `input/invalid-spec` for an assignment without `=` or a path through a value that is no object.
 */
export const applyAssignments = (value: unknown, assignments: readonly string[]): unknown => {
  const result: unknown = structuredClone(value);
  for (const assignment of assignments) {
    const at = assignment.indexOf("=");
    const path = assignment.slice(0, Math.max(at, 0)).split(".");
    const last = path.pop() ?? "";
    if (at <= 0 || last === "")
      throw new MiloraError(
        "input/invalid-spec",
        `--set ${assignment}: allowed is path=value, such as train.epochs=2.`,
        { found: assignment },
      );
    let target = result;
    for (const key of path) {
      if (isRecord(target) && !(key in target)) target[key] = {};
      target = isRecord(target) ? target[key] : undefined;
    }
    if (!isRecord(target))
      throw new MiloraError(
        "input/invalid-spec",
        `--set ${assignment}: ${path.join(".") || "the spec"} is not an object.`,
        { found: assignment },
      );
    target[last] = parseValue(assignment.slice(at + 1));
  }
  return result;
};

/** Reads a spec file as it stands: JSON, YAML, or a module whose default export it is. */
export const readSpecValue = (file: string): Promise<unknown> => readSpecFile(resolve(file));

/** Reads a run's spec from a file, makes the assignments, checks it and fills the defaults. */
export const loadRunSpec = async (file: string, assignments: readonly string[] = []): Promise<RunSpec> => {
  const value = applyAssignments(await readSpecValue(file), assignments);
  return parseWith(runSchema, withMethodPreset(value), { what: "The spec", file });
};
