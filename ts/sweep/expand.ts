import { MiloraError } from "../errors.js";
import { parseWith } from "../spec/parse.js";
import { withMethodPreset } from "../spec/presets.js";
import { runSchema, type RunSpec } from "../spec/run.js";
import { isSchemaPath, schemaPaths, type SchemaPaths } from "../spec/schema-paths.js";
import type { SweepEvaluation, SweepGroup, SweepSpec } from "../spec/sweep.js";
import { nearest, unknownNameMessage } from "../util/did-you-mean.js";
import { deepMerge, isRecord, nested, shortHash } from "../util/records.js";
import { taskPlace } from "./task-place.js";

/** One job of a sweep: a run (trained, then scored), or the untuned model of a group (scored). */
export interface SweepJob {
  /** A readable prefix and a checksum of the resolved spec and of how it is scored; also the name of its folder. */
  readonly id: string;
  readonly name: string;
  readonly kind: "run" | "before";
  readonly group: string;
  /** What the job differs by, without its seed. */
  readonly row: string;
  readonly seed: number | null;
  /** The job that scores the untuned model of this run. */
  readonly before: string | null;
  /** For `before`: the spec of a run that it is compared with. */
  readonly spec: RunSpec;
  readonly evaluate: SweepEvaluation | undefined;
}

interface AxisValue {
  readonly path: string;
  readonly value: unknown;
}

const seedPath = "train.seed";

/** The axis whose values are parts of a spec, not values of one of its fields. */
const variantPath = "variant";

const text = (value: unknown): string => (typeof value === "string" ? value : JSON.stringify(value));

/** `{"kind": "lora", "preset": "small", "alpha": 8}` → `lora small alpha=8`; a number → `rank=8`. */
const labelOf = ({ path, value }: AxisValue): string => {
  if (typeof value === "string") return value;
  if (path === variantPath && isRecord(value)) {
    const { name, method } = value;
    return typeof name === "string" ? name : labelOf({ path: "method", value: method ?? value });
  }
  if (!isRecord(value)) return `${path.split(".").at(-1)}=${text(value)}`;
  const { kind, preset, ...rest } = value;
  const names = [kind, preset].filter((name) => name !== undefined).map(text);
  return [...names, ...Object.entries(rest).map(([key, field]) => `${key}=${text(field)}`)].join(" ");
};

/** An axis' value as a part of a run's spec. */
const partOf = ({ path, value }: AxisValue): unknown => {
  if (path !== variantPath || !isRecord(value)) return nested(path, value);
  const { name: _name, ...part } = value;
  return part;
};

const slug = (name: string): string =>
  name
    .replaceAll(/[^\w.]+/g, "-")
    .replaceAll(/^[-.]+/g, "")
    .slice(0, 60)
    .replaceAll(/-+$/g, "");

/** Every combination of the axes' values; the first axis changes slowest. */
const combinations = (axes: Readonly<Record<string, readonly unknown[]>>): readonly (readonly AxisValue[])[] => {
  let result: readonly (readonly AxisValue[])[] = [[]];
  for (const [path, values] of Object.entries(axes))
    result = result.flatMap((before) => values.map((value) => [...before, { path, value }]));
  return result;
};

const axesOf = (sweep: SweepSpec, group: SweepGroup) => ({ ...sweep.axes, ...group.axes });

const checkAxes = (sweep: SweepSpec, paths: SchemaPaths): void => {
  const problems = sweep.groups.flatMap((group) =>
    Object.keys(axesOf(sweep, group))
      .filter((path) => path !== variantPath && !isSchemaPath(paths, path))
      .map((path) => {
        const guess = nearest(path, paths.known);
        const question = guess === undefined ? "" : ` Did you mean "${guess}"?`;
        return `group ${group.name}, axis "${path}": a run's spec has no such field.${question}`;
      }),
  );
  if (problems.length > 0) throw invalid("names axes that no run has", problems);
};

const invalid = (what: string, problems: readonly string[]): MiloraError =>
  new MiloraError("input/invalid-spec", `The sweep ${what}:\n${problems.map((line) => `  - ${line}`).join("\n")}`, {
    problems,
  });

/** The untuned model of a run: what its score depends on. */
const beforeOf = (group: string, spec: RunSpec, evaluate: SweepEvaluation): SweepJob => {
  const { device, dtype, quantization } = spec.train;
  const { dir, hub } = taskPlace(spec.data);
  // Left out where there is none, as it was when sweeps knew of none.
  const held = quantization === "none" ? {} : { quantization };
  const hash = shortHash({ model: spec.model, device, dtype, ...held, dir, hub, evaluate });
  const shared = { kind: "before", group, row: "before", seed: null, before: null } as const;
  return { id: `${slug(group)}-before-${hash}`, name: `${group}/before`, ...shared, spec, evaluate };
};

const runOf = (sweep: SweepSpec, group: SweepGroup, values: readonly AxisValue[]): SweepJob => {
  const laid = [{ model: sweep.model }, sweep.spec, group.spec, ...values.map(partOf)];
  const labels = values.filter(({ path }) => path !== seedPath).map(labelOf);
  const value = withMethodPreset(laid.reduce(deepMerge));
  const what = [group.name, ...labels].join("/");
  const spec = parseWith(runSchema, value, { what: `The run ${what}` });
  const { evaluate } = group;
  const row = labels.length > 0 ? labels.join(", ") : spec.method.kind;
  const name = `${what}/seed-${spec.train.seed}`;
  const id = `${slug(name)}-${shortHash({ spec, evaluate })}`;
  const before = evaluate === undefined ? null : beforeOf(group.name, spec, evaluate).id;
  return { id, name, kind: "run", group: group.name, row, seed: spec.train.seed, before, spec, evaluate };
};

const collectRuns = (sweep: SweepSpec): readonly SweepJob[] => {
  const problems = new Set<string>();
  const runs = sweep.groups.flatMap((group) =>
    combinations(axesOf(sweep, group)).flatMap((values) => {
      try {
        return [runOf(sweep, group, values)];
      } catch (error) {
        if (!MiloraError.isInstance(error)) throw error;
        const place = [group.name, ...values.filter(({ path }) => path !== seedPath).map(labelOf)].join("/");
        error.problems.forEach((problem) => problems.add(`${place}: ${problem}`));
        return [];
      }
    }),
  );
  if (problems.size > 0) throw invalid("has runs whose spec is wrong", [...problems]);
  return runs;
};

const checkDistinct = (runs: readonly SweepJob[]): void => {
  const names = new Map<string, string>();
  const problems = runs.flatMap(({ name, spec, evaluate }) => {
    const key = shortHash({ spec, evaluate });
    const other = names.get(key);
    names.set(key, name);
    return other === undefined ? [] : [`${other} and ${name}: the same spec, the same way of scoring`];
  });
  if (problems.length > 0) throw invalid("has runs twice; remove one of each from the axes", problems);
};

const checkReference = ({ reference }: SweepSpec, runs: readonly SweepJob[]): void => {
  const rows = [...new Set(runs.map(({ row }) => row))];
  if (reference === undefined || rows.includes(reference)) return;
  throw new MiloraError("input/invalid-spec", unknownNameMessage("reference", reference, rows), {
    path: "reference",
    found: reference,
    allowed: rows.join(", "),
  });
};

/**
 * The jobs of a sweep, in its order: each run behind the untuned model that it is compared with.
 * Laid over each other: the sweep's `spec`, the group's, the values of the axes.
 * @throws MiloraError `input/invalid-spec`: an axis that no run has, a run whose spec is wrong, a run that is there twice.
 */
export const expandSweep = (sweep: SweepSpec): readonly SweepJob[] => {
  checkAxes(sweep, schemaPaths(runSchema));
  const runs = collectRuns(sweep);
  checkDistinct(runs);
  checkReference(sweep, runs);
  const jobs = new Map<string, SweepJob>();
  for (const run of runs) {
    const before = run.evaluate === undefined ? undefined : beforeOf(run.group, run.spec, run.evaluate);
    if (before !== undefined && !jobs.has(before.id)) jobs.set(before.id, before);
    jobs.set(run.id, run);
  }
  return [...jobs.values()];
};

/** The jobs whose id or name contains `text`, with the untuned models that they are compared with. */
export const selectJobs = (jobs: readonly SweepJob[], text: string): readonly SweepJob[] => {
  const chosen = jobs.filter(({ id, name }) => id.includes(text) || name.includes(text));
  const needed = new Set(chosen.flatMap(({ id, before }) => (before === null ? [id] : [id, before])));
  return jobs.filter(({ id }) => needed.has(id));
};
