import { parseWith } from "../spec/parse.js";
import { sweepSchema, type SweepSpec } from "../spec/sweep.js";
import { taskByName } from "../tasks/registry.js";
import { scoredTemplate } from "../tasks/task.js";
import { readSpecValue } from "./load-spec.js";

/**
 * Checks a sweep's spec and fills the defaults. Tasks, templates and scorers are looked up now, not after the first
 * training.
 */
export const checkSweepSpec = (value: unknown, place: Parameters<typeof parseWith>[2]): SweepSpec => {
  const sweep = parseWith(sweepSchema, value, place);
  for (const { evaluate } of sweep.groups)
    for (const task of (evaluate?.tasks ?? []).map(taskByName)) scoredTemplate(task, evaluate ?? {});
  return sweep;
};

/** Reads a sweep's spec from a file and checks it. */
export const loadSweepSpec = async (file: string): Promise<SweepSpec> =>
  checkSweepSpec(await readSpecValue(file), { what: "The sweep", file });
