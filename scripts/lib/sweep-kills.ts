import { execa } from "execa";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";

/** A sweep to be killed: its program and spec, and where its folders go. */
export interface SweepKillOptions {
  /** The program that is started with `sweep …`: a file, and what Node needs for it. */
  readonly command: readonly string[];
  readonly spec: string;
  readonly folder: string;
  readonly kills: number;
  /** Steps of each of its runs. */
  readonly steps: number;
  /** From 0 to 1; decides when each kill comes. */
  readonly random: () => number;
  readonly onLine?: ((line: string) => void) | undefined;
}

export interface UndisturbedSweep {
  readonly out: string;
  readonly milliseconds: number;
}

export interface SweepKillResult {
  readonly kills: number;
  /** Sweeps that went to their end over these kills. */
  readonly sweeps: number;
  /** Jobs that were finished at each kill. */
  readonly finishedAt: readonly number[];
}

/** What is read of a job in `sweep.json`. */
export interface Job {
  readonly id: string;
  readonly state: string;
  readonly attempts: number;
}

/** The jobs of the sweep in a folder. */
export const jobsIn = (out: string): readonly Job[] => {
  const file = join(out, "sweep.json");
  // Written whole or not at all: what does not parse is a fault.
  return existsSync(file) ? JSON.parse(readFileSync(file, "utf8")).jobs : [];
};

/** What must never change again: the record of a finished job, and of its run. */
const finishedIn = (out: string): ReadonlyMap<string, string> =>
  new Map(
    jobsIn(out)
      .filter(({ state }) => state === "finished")
      .map((job) => {
        const run = join(out, "runs", job.id, "run", "run.json");
        return [job.id, JSON.stringify(job) + (existsSync(run) ? readFileSync(run, "utf8") : "")];
      }),
  );

/** The table without what a clock decides. */
export const sweepTableOf = (out: string): unknown =>
  JSON.parse(readFileSync(join(out, "results.json"), "utf8"), (key, value: unknown) =>
    key.endsWith("TokensPerSecond") ? undefined : value,
  );

/** The steps in a run's record; a line cut in half is none. */
export const recordedSteps = (run: string): readonly number[] => {
  const file = join(run, "events.jsonl");
  if (!existsSync(file)) return [];
  return readFileSync(file, "utf8")
    .split("\n")
    .filter((line) => line.endsWith("}"))
    .map((line): { readonly type: string; readonly kind?: string; readonly step: number } => JSON.parse(line))
    .flatMap(({ type, kind, step }) => (type === "step" && kind === "weights" ? [step] : []));
};

const problem = (out: string, text: string): Error => new Error(`${out}: ${text}`);

const start = ({ command, spec }: Pick<SweepKillOptions, "command" | "spec">, out: string) =>
  execa(process.execPath, [...command, "sweep", spec, "--out", out, "--json"], { reject: false, timeout: 600_000 });

/** Runs the sweep to its end. */
export const finishSweep = async (
  options: Pick<SweepKillOptions, "command" | "spec">,
  out: string,
): Promise<UndisturbedSweep> => {
  const at = performance.now();
  const { exitCode, stderr } = await start(options, out);
  if (exitCode !== 0) throw problem(out, `exit code ${String(exitCode)}: ${stderr.slice(-2000)}`);
  return { out, milliseconds: performance.now() - at };
};

/** Kills the sweep once after so many milliseconds; false where it had ended before. */
const killOnce = async (options: SweepKillOptions, out: string, milliseconds: number): Promise<boolean> => {
  const child = start(options, out);
  await Promise.race([wait(milliseconds), child]);
  if (!child.kill("SIGKILL")) return false;
  const { exitCode, signal, stderr } = await child;
  if (signal === "SIGKILL") return true;
  if (exitCode === 0) return false;
  throw problem(out, `it ended by itself with ${String(exitCode)}: ${stderr.slice(-2000)}`);
};

const check = (out: string, undisturbed: UndisturbedSweep, steps: number): void => {
  const wanted = JSON.stringify(Array.from({ length: steps }, (_, index) => index + 1));
  for (const id of readdirSync(join(out, "runs"))) {
    const run = join(out, "runs", id, "run");
    if (existsSync(run) && JSON.stringify(recordedSteps(run)) !== wanted)
      throw problem(run, `the record's steps are ${recordedSteps(run).join(" ")}`);
  }
  const [found, expected] = [sweepTableOf(out), sweepTableOf(undisturbed.out)].map((table) => JSON.stringify(table));
  if (found !== expected) throw problem(out, `its table differs from the undisturbed sweep's: ${found} ${expected}`);
};

const checkUnchanged = (out: string, before: ReadonlyMap<string, string>): void => {
  const now = finishedIn(out);
  for (const [id, record] of before) if (now.get(id) !== record) throw problem(out, `${id} was done twice`);
};

/**
 * Kills the sweep with signal 9 at random moments and starts it again, until there were enough kills; each must end with
 * the table of the undisturbed one, each step recorded once, and no finished job touched again.
 * @throws Error that says what differs.
 */
export const killSweep = async (
  options: SweepKillOptions,
  undisturbed: UndisturbedSweep,
): Promise<SweepKillResult> => {
  const { folder, kills, steps, random, onLine = () => undefined } = options;
  const finishedAt: number[] = [];
  let sweeps = 0;
  while (finishedAt.length < kills) {
    const out = join(folder, `killed-${sweeps}`);
    let done: ReadonlyMap<string, string> = new Map();
    while (finishedAt.length < kills) {
      // Two kills a sweep on average, wherever it is.
      if (!(await killOnce(options, out, random() * undisturbed.milliseconds))) break;
      checkUnchanged(out, done);
      done = finishedIn(out);
      finishedAt.push(done.size);
      onLine(`kill ${finishedAt.length} of ${kills}: ${out} with ${done.size} finished jobs`);
    }
    await finishSweep(options, out);
    checkUnchanged(out, done);
    check(out, undisturbed, steps);
    sweeps += 1;
    onLine(`sweep ${sweeps}: the same table after its kills`);
  }
  return { kills: finishedAt.length, sweeps, finishedAt };
};
