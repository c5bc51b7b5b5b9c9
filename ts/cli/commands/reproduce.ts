import { join, resolve } from "node:path";
import { checkSweepSpec } from "../../client/load-sweep.js";
import { MiloraError } from "../../errors.js";
import { sweepTables } from "../../report/sweep-table.js";
import { comparedTables } from "../../reproduce/compare.js";
import { targets, type Target } from "../../reproduce/targets.js";
import type { Reproduction } from "../../reproduce/text.js";
import type { SweepJobRecord } from "../../runs/sweep-record.js";
import { parseWith } from "../../spec/parse.js";
import { expandSweep } from "../../sweep/expand.js";
import { unknownNameMessage } from "../../util/did-you-mean.js";
import { counted } from "../../util/text.js";
import type { CommandContext } from "../output.js";
import { reproduceOptionsSchema, sizeOf, tellReproduction, type ReproduceOptions } from "../reproduction.js";
import { performSweep, recordsOf, sweepExitCode, type SweepOutcome, type SweepWork } from "../sweep-runner.js";
import { rayOf } from "../sweep-starter.js";
import { judgedRows } from "./reproduce-judged.js";
import { routeFinished } from "./reproduce-routing.js";
import { reproduceSpeed, speedTarget } from "./reproduce-speed.js";
import { printSweepPlan } from "./sweep.js";

const targetNamed = (name: string): Target => {
  const target = Object.hasOwn(targets, name) ? targets[name] : undefined;
  if (target !== undefined) return target;
  const known = [...Object.keys(targets), speedTarget];
  throw new MiloraError("input/unknown-name", unknownNameMessage("table or figure", name, known), {
    path: "target",
    found: name,
    allowed: known.toSorted().join(", "),
  });
};

const openRuns = (records: readonly SweepJobRecord[]): readonly string[] => {
  const open = records.filter(({ state }) => state !== "finished").length;
  return open === 0
    ? []
    : [`${counted(open, "job")} of ${records.length} without a result: the same command goes on.`];
};

const outcomeOf = async (
  { target, name, options, work }: { target: Target; name: string; options: ReproduceOptions; work: SweepWork },
  { record, results }: SweepOutcome,
  signal: AbortSignal,
): Promise<Reproduction> => {
  const { model, scale } = options;
  const records = recordsOf(record, work.jobs);
  const routed = await routeFinished({
    tasks: target.routing(scale),
    jobs: work.jobs,
    records,
    work,
    options,
    signal,
  });
  const papers = target.paper(model);
  const compared = comparedTables(sweepTables(record, results), { papers, means: target.means(scale) });
  const { tables, missing } = await judgedRows(compared, { records, out: work.out });
  return {
    target: name,
    title: target.title,
    scale,
    model,
    tables,
    routing: routed,
    differences: target.differences(scale, sizeOf(options)),
    missing: [...openRuns(records), ...missing],
  };
};

/** `milora reproduce <target>`: the runs of one of the paper's tables or figures, and our figures beside its own. */
export const reproduce = async (context: CommandContext, raw: object, name: string): Promise<number> => {
  const options = parseWith(reproduceOptionsSchema, raw, { what: "The command" });
  const { model, data: dir, scale, jobs: parallel } = options;
  const out = resolve(options.out ?? join("reproduce", `${name}-${scale}`));
  if (name === speedTarget) return reproduceSpeed(context, options, out);
  const target = targetNamed(name);
  const sweep = checkSweepSpec(target.sweep({ model, dir, scale, small: sizeOf(options) }), {
    what: `The sweep of ${name}`,
  });
  const all = expandSweep(sweep);
  const work = { sweep, out, all, jobs: all, parallel, ray: rayOf(options.ray, undefined) };
  if (options.dryRun) {
    await printSweepPlan(context, work, options);
    return 0;
  }
  const outcome = await performSweep(work, context.signal);
  const code = sweepExitCode(recordsOf(outcome.record, all), context.signal);
  await tellReproduction(context, out, await outcomeOf({ target, name, options, work }, outcome, context.signal));
  return code;
};
