/**
 * Fails for a file over 400 lines or a Python function over 60 (TypeScript functions: oxlint, max-lines-per-function);
 * names the files over 300. There is no list of exceptions.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { listFiles, readText, root } from "./lib/paths.mjs";

const softLimit = 300;
const hardLimit = 400;
const functionLimit = 60;
const isGenerated = (name) => /(^|\/)(__pycache__|\.\w+_cache|fixtures|golden)\//u.test(name);

const sources = ["ts", "py", "test", "scripts", "examples"].flatMap((folder) =>
  existsSync(join(root, folder))
    ? [".ts", ".mjs", ".py"].flatMap((extension) =>
        listFiles(join(root, folder), extension).map((name) => `${folder}/${name}`),
      )
    : [],
);

const indentOf = (line) => line.length - line.trimStart().length;

/** The functions of a Python file with their numbers of lines that are neither blank nor comments nor docstrings. */
const pythonFunctions = (text) => {
  const lines = text.replaceAll(/"""[\s\S]*?"""/gu, '""').split("\n");
  return lines.flatMap((line, start) => {
    const name = /^\s*(?:async )?def (\w+)/u.exec(line)?.[1];
    if (name === undefined) return [];
    const signature = lines.findIndex((each, place) => place >= start && /:\s*(#.*)?$/u.test(each));
    const isOutside = (each, place) => place > signature && each.trim() !== "" && indentOf(each) <= indentOf(line);
    const end = lines.findIndex(isOutside);
    const body = lines.slice(start, end === -1 ? undefined : end);
    return [{ name, length: body.filter((each) => each.trim() !== "" && !each.trim().startsWith("#")).length }];
  });
};

const problems = [];
for (const name of sources.filter((each) => !isGenerated(each))) {
  const text = readText(join(root, name));
  const length = text.split("\n").length - 1;
  if (length > hardLimit) problems.push(`${name}: ${length} lines, at most ${hardLimit}`);
  else if (length > softLimit) console.log(`note: ${name} has ${length} lines; over ${softLimit} is worth splitting`);
  const functions = name.endsWith(".py") ? pythonFunctions(text) : [];
  for (const each of functions) {
    if (each.length > functionLimit)
      problems.push(`${name}: ${each.name} has ${each.length} lines, at most ${functionLimit}`);
  }
}
if (sources.length === 0) problems.push("no source was found");
for (const problem of problems) console.error(problem);
process.exitCode = problems.length === 0 ? 0 : 1;
