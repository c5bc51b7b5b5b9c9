import { existsSync } from "node:fs";
import { join } from "node:path";
import type { RoutedTask } from "../../reproduce/text.js";
import { routingRecordSchema, routingRecordText } from "../../runs/routing-record.js";
import { runFolder } from "../../runs/run-folder.js";
import type { SweepJobRecord } from "../../runs/sweep-record.js";
import { parseWith } from "../../spec/parse.js";
import type { SweepJob } from "../../sweep/expand.js";
import { jobPlaces } from "../../sweep/run-job.js";
import { readJsonFile, writeFileAtomic } from "../../util/files.js";
import { openSession } from "../open-session.js";
import type { SweepWork } from "../sweep-runner.js";
import type { ReproduceOptions } from "../reproduction.js";

/** Prompts of a task's test set that are routed at small scale; all of them at the paper's. */
const smallPrompts = 200;

/** Prompts whose gates are kept one by one. */
const examples = 4;

interface RoutingWork {
  /** Task by group. */
  readonly tasks: Readonly<Record<string, string>>;
  readonly jobs: readonly SweepJob[];
  readonly records: readonly SweepJobRecord[];
  readonly work: SweepWork;
  readonly options: ReproduceOptions;
  readonly signal: AbortSignal;
}

const routingFile = (out: string, job: SweepJob, task: string): string =>
  join(runFolder(jobPlaces(out, job.id).run).routing, `${task}.json`);

/** The template that the run was trained with, where its own task is routed. */
const templateOf = ({ data }: SweepJob["spec"], task: string): string | undefined =>
  "task" in data && data.task === task ? data.template : undefined;

/** Routes the prompts of these runs' tasks in one session; the figures lie in each run's folder. */
const route = async ({ tasks, work, options, signal }: RoutingWork, jobs: readonly SweepJob[]): Promise<void> => {
  const [first] = jobs;
  if (first === undefined || signal.aborted) return;
  const { device, dtype } = first.spec.train;
  const limit = options.scale === "small" ? smallPrompts : undefined;
  await using milora = await openSession({ model: first.spec.model, device, dtype });
  for (const job of jobs) {
    const task = tasks[job.group] ?? "";
    const { adapter } = runFolder(jobPlaces(work.out, job.id).run);
    const template = templateOf(job.spec, task);
    const request = { adapter, tasks: [task], dir: options.data, template, limit, explain: examples, signal };
    for (const figures of await milora.routing(request))
      await writeFileAtomic(routingFile(work.out, job, task), routingRecordText(figures));
  }
};

const readRouted = async (file: string): Promise<RoutedTask> => {
  const value = await readJsonFile(file, "the routing figures");
  const { task, prompts, activeShare } = parseWith(routingRecordSchema, value, { what: "The routing figures", file });
  return { task, prompts, activeShare };
};

/** How the finished runs route their tasks' prompts; what was routed before is not routed again. */
export const routeFinished = async (routing: RoutingWork): Promise<readonly RoutedTask[]> => {
  const { tasks, jobs, records, work, signal } = routing;
  const finished = new Set(records.flatMap(({ id, state }) => (state === "finished" ? [id] : [])));
  const routed = jobs.filter(
    ({ id, kind, group }) => kind === "run" && tasks[group] !== undefined && finished.has(id),
  );
  const fileOf = (job: SweepJob): string => routingFile(work.out, job, tasks[job.group] ?? "");
  await route(
    routing,
    routed.filter((job) => !existsSync(fileOf(job))),
  );
  return signal.aborted ? [] : Promise.all(routed.map((job) => readRouted(fileOf(job))));
};
