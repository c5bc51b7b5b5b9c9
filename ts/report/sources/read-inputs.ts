import { existsSync, statSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { MiloraError } from "../../errors.js";
import { joinInputs, noInputs, type ReportInputs } from "./inputs.js";
import { createProblems, type ProblemList } from "./problems.js";
import { readReportFile } from "./read-file.js";
import { readRun } from "./read-run.js";
import { readSweep } from "./read-sweep.js";

const isSweep = (folder: string): boolean => existsSync(join(folder, "sweep.json"));

/** A run that lost its record is still one by what else it holds. */
const isRun = (folder: string): boolean =>
  ["run.json", "events.jsonl", "results"].some((name) => existsSync(join(folder, name)));

const readFolder = async (folder: string, problems: ProblemList): Promise<ReportInputs | undefined> => {
  if (isSweep(folder)) return readSweep(folder, problems);
  return isRun(folder) ? { ...noInputs, runs: [await readRun(folder, problems)] } : undefined;
};

/** The runs and sweeps in a folder of such folders. */
const readParent = async (folder: string, problems: ProblemList): Promise<ReportInputs> => {
  const entries = (await problems.attempt(folder, () => readdir(folder, { withFileTypes: true }))) ?? [];
  const parts: ReportInputs[] = [];
  for (const entry of entries.filter((each) => each.isDirectory())) {
    const part = await readFolder(join(folder, entry.name), problems);
    if (part !== undefined) parts.push(part);
  }
  if (parts.length === 0) problems.add(folder, "Holds no run, no sweep, and no folder of one.");
  return joinInputs(parts);
};

const readPlace = async (place: string, problems: ProblemList): Promise<ReportInputs> => {
  const found = statSync(place, { throwIfNoEntry: false });
  if (found === undefined)
    throw new MiloraError("input/missing-file", `${place} is not there.`, {
      file: place,
      found: "no such file or folder",
      allowed: "a run's or a sweep's folder, or a JSON file of results, of a bench, or of routing",
    });
  if (found.isDirectory()) return (await readFolder(place, problems)) ?? (await readParent(place, problems));
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
  for (const path of paths) parts.push(await readPlace(resolve(path), problems));
  return { ...joinInputs(parts), problems: problems.all() };
};
