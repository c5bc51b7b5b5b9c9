import { execa } from "execa";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import type { RayNodes } from "./ray-nodes.js";
import { type Job, jobsIn, recordedSteps, sweepTableOf } from "./sweep-kills.js";

/** A sweep on a Ray that loses a node. */
export interface RaySweepOptions {
  /** The program that is started with `sweep …`: a file, and what Node needs for it. */
  readonly command: readonly string[];
  readonly spec: string;
  readonly out: string;
  readonly ray: RayNodes;
  /** Steps of each run, and after how many it has a checkpoint. */
  readonly steps: number;
  readonly checkpointEvery: number;
  /** Jobs that are finished before the node is killed. */
  readonly finishedBefore: number;
  readonly onLine?: ((line: string) => void) | undefined;
}

export interface RaySweepResult {
  /** The run that was at work on the node, and its step when the node was killed. */
  readonly lost: { readonly job: string; readonly step: number };
  /** Where each run was started, in order: 0 = from its beginning. */
  readonly starts: Readonly<Record<string, readonly number[]>>;
  readonly seconds: number;
}

const lastStep = (run: string): number => recordedSteps(run).at(-1) ?? 0;

/** The step that a run began at, each time that it was started. */
const startsOf = (run: string): readonly number[] =>
  readFileSync(join(run, "events.jsonl"), "utf8")
    .split("\n")
    .filter((line) => line.includes('"started"'))
    .map((line): { readonly resumedAt: number | null } => JSON.parse(line))
    .map(({ resumedAt }) => resumedAt ?? 0);

const runOf = (out: string, id: string): string => join(out, "runs", id, "run");

/** The job that a node trains at this moment. */
const jobOn = async (ray: RayNodes, node: number, out: string): Promise<string | undefined> => {
  const commands = await ray.commandsOn(node);
  return jobsIn(out).find(({ id }) => commands.some((words) => words.includes(runOf(out, id))))?.id;
};

/** Waits until the second node is in the middle of a run that has a checkpoint, and kills it; nothing once it is over. */
const killInTheMiddle = async (
  options: RaySweepOptions,
  isOver: () => boolean,
): Promise<RaySweepResult["lost"] | undefined> => {
  const { out, ray, steps, checkpointEvery, finishedBefore } = options;
  while (!isOver()) {
    await wait(300);
    if (jobsIn(out).filter(({ state }) => state === "finished").length < finishedBefore) continue;
    const job = await jobOn(ray, 1, out);
    const step = job === undefined ? 0 : lastStep(runOf(out, job));
    if (job === undefined || step < checkpointEvery + 1 || step > steps - checkpointEvery) continue;
    await ray.kill(1);
    return { job, step };
  }
  return undefined;
};

/** Each job was tried once, the lost one twice, those that were finished before not again. */
const checkAttempts = (before: readonly Job[], after: readonly Job[], lost: string): void => {
  for (const { id, attempts } of after) {
    const earlier = before.find((job) => job.id === id);
    const wanted = earlier?.state === "finished" ? 0 : id === lost ? 2 : 1;
    const made = attempts - (earlier?.attempts ?? 0);
    if (made !== wanted) throw new Error(`${id} was tried ${made} times, not ${wanted}`);
  }
};

const check = (options: RaySweepOptions, straight: string, lost: RaySweepResult["lost"]): RaySweepResult["starts"] => {
  const { out, steps, checkpointEvery } = options;
  const ids = readdirSync(join(out, "runs")).filter((id) => existsSync(runOf(out, id)));
  const wanted = Array.from({ length: steps }, (_, index) => index + 1).join(" ");
  for (const id of ids) {
    const found = recordedSteps(runOf(out, id)).join(" ");
    if (found !== wanted) throw new Error(`${id}: the record's steps are ${found}`);
  }
  const starts = Object.fromEntries(ids.map((id) => [id, startsOf(runOf(out, id))]));
  for (const [id, [first, ...later]] of Object.entries(starts)) {
    if (first !== 0 || later.includes(0)) throw new Error(`${id} was started from its beginning more than once`);
    if (id === lost.job && !later.some((step) => step >= checkpointEvery))
      throw new Error(`${id} did not go on from a checkpoint`);
  }
  const [found, expected] = [out, straight].map((folder) => JSON.stringify(sweepTableOf(folder)));
  if (found !== expected) throw new Error(`the table differs from the local sweep's: ${found} ${expected}`);
  return starts;
};

/**
 * Runs a sweep on Ray and kills its second node in the middle of a run that has a checkpoint; it must end with the table
 * of the local sweep, each step recorded once, and no run that had a checkpoint started from its beginning.
 * @throws Error that says what differs.
 */
export const sweepOnRay = async (options: RaySweepOptions, straight: string): Promise<RaySweepResult> => {
  const { command, spec, out, ray, onLine = () => undefined } = options;
  const startedAt = performance.now();
  const before = jobsIn(out);
  const args = [...command, "sweep", spec, "--out", out, "--ray", ray.address, "--json"];
  const child = execa(process.execPath, args, { reject: false, env: ray.env, timeout: 1_200_000 });
  const lost = await killInTheMiddle(options, () => child.exitCode !== null);
  if (lost !== undefined) onLine(`killed the second node, at step ${lost.step} of ${lost.job}`);
  const { exitCode, stderr } = await child;
  if (exitCode !== 0 || lost === undefined) throw new Error(`exit code ${String(exitCode)}: ${stderr.slice(-2000)}`);
  onLine(stderr);
  checkAttempts(before, jobsIn(out), lost.job);
  return { lost, starts: check(options, straight, lost), seconds: (performance.now() - startedAt) / 1000 };
};
