import { existsSync, statSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { MiloraError } from "../../errors.js";
import { joinInputs, noInputs, type ReportInputs } from "./inputs.js";
import { createProblems, type ProblemList } from "./problems.js";
import { inputsOfFile, readReportFile } from "./read-file.js";
import { readRun } from "./read-run.js";
import { readSweep } from "./read-sweep.js";

const isSweep = (folder: string): boolean => existsSync(join(folder, "sweep.json"));

/** A run that lost its record is still one by what else it holds. */
const isRun = (folder: string): boolean =>
  ["run.json", "events.jsonl", "results"].some((name) => existsSync(join(folder, name)));

/** The paths that were asked for: a file among them is read once, though its folder is among them too. */
type Named = ReadonlySet<string>;

/** What a sweep or a reproduction writes beside its records, from which a report has the same. */
const derived = ["sweep.json", "results.json", "reproduce.json"];

/** A judge's, a bench's or other figures that lie in a folder; files of other kinds are nobody's business. */
const readFiles = async (folder: string, problems: ProblemList, named: Named): Promise<ReportInputs> => {
  const names = (await readdir(folder)).filter((name) => name.endsWith(".json") && !derived.includes(name));
  const files = names.toSorted().map((name) => join(folder, name));
  const parts: ReportInputs[] = [];
  for (const file of files.filter((each) => !named.has(each)))
    parts.push((await problems.attempt(file, () => inputsOfFile(file))) ?? noInputs);
  return joinInputs(parts);
};

const readFolder = async (folder: string, problems: ProblemList, named: Named): Promise<ReportInputs | undefined> => {
  if (isSweep(folder))
    return joinInputs([await readSweep(folder, problems), await readFiles(folder, problems, named)]);
  return isRun(folder) ? { ...noInputs, runs: [await readRun(folder, problems)] } : undefined;
};

/** The runs and sweeps in a folder of such folders, and the figures that lie there. */
const readParent = async (folder: string, problems: ProblemList, named: Named): Promise<ReportInputs> => {
  const entries = (await problems.attempt(folder, () => readdir(folder, { withFileTypes: true }))) ?? [];
  const parts: ReportInputs[] = entries.length === 0 ? [] : [await readFiles(folder, problems, named)];
  for (const entry of entries.filter((each) => each.isDirectory())) {
    const part = await readFolder(join(folder, entry.name), problems, named);
    if (part !== undefined) parts.push(part);
  }
  const inputs = joinInputs(parts);
  if (Object.values(inputs).every((read) => read.length === 0))
    problems.add(folder, "Holds no run, no sweep, no folder of one, and no file of figures.");
  return inputs;
};

const readPlace = async (place: string, problems: ProblemList, named: Named): Promise<ReportInputs> => {
  const found = statSync(place, { throwIfNoEntry: false });
  if (found === undefined)
    throw new MiloraError("input/missing-file", `${place} is not there.`, {
      file: place,
      found: "no such file or folder",
      allowed: "a run's or a sweep's folder, or a JSON file of results, of a judge, of a bench, or of routing",
    });
  if (found.isDirectory())
    return (await readFolder(place, problems, named)) ?? (await readParent(place, problems, named));
  return (await problems.attempt(place, () => readReportFile(place))) ?? noInputs;
};

/**
 * Reads all that a report is made of, from folders of runs and sweeps, folders of such folders, and JSON files. What
 * can't be read, or not wholly, is among the `problems`.
 * @throws MiloraError `input/missing-file` for a path that is not there.
 */
export const readReportInputs = async (paths: readonly string[]): Promise<ReportInputs> => {
  const problems = createProblems();
  const parts: ReportInputs[] = [];
  const places = paths.map((path) => resolve(path));
  const named = new Set(places);
  for (const place of places) parts.push(await readPlace(place, problems, named));
  return { ...joinInputs(parts), problems: problems.all() };
};
