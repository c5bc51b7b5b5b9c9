import { execa } from "execa";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { killPart, leftAfter, type Part } from "./part-kills.js";

/** A run to be killed: its spec, with `train.maxSteps`, and where its folders go. */
export interface KillOptions {
  /** The program that is started with `train …`: a file, and what Node needs for it. */
  readonly command: readonly string[];
  readonly spec: { readonly train: { readonly maxSteps: number } };
  readonly folder: string;
  readonly kills: number;
  /** What of a training on ranks is killed, instead of the program itself: it must then end with a typed error. */
  readonly part?: Part | undefined;
  /** From 0 to 1; decides when each kill comes. */
  readonly random: () => number;
  readonly onLine?: (line: string) => void;
}

export interface KillResult {
  readonly kills: number;
  /** Runs that went to their end over these kills. */
  readonly runs: number;
  /** How far the runs were at each kill: steps in their record. */
  readonly killedAt: readonly number[];
  /** Seconds from the kill of a part to the program's own end. */
  readonly secondsToEnd: readonly number[];
}

interface RecordedEvent {
  readonly type: string;
  readonly step?: number;
  readonly kind?: string;
  readonly message?: string;
}

const fileOf = (run: string): string => join(run, "events.jsonl");

/** Every line of a run's record; the last may be half of one in a run that was killed. */
const recordOf = (run: string): readonly RecordedEvent[] =>
  existsSync(fileOf(run))
    ? readFileSync(fileOf(run), "utf8")
        .split("\n")
        .filter((line) => line.endsWith("}"))
        .map((line) => JSON.parse(line))
    : [];

const stepsOf = (run: string, kind: string): readonly number[] =>
  recordOf(run).flatMap((event) =>
    event.type === "step" && event.kind === kind && event.step !== undefined ? [event.step] : [],
  );

const digest = (file: string): string => createHash("sha256").update(readFileSync(file)).digest("hex");

/** Checksums of what a finished run trained: weights, moments and random states of its last checkpoint; the adapter. */
const trainedOf = (run: string, steps: number): Readonly<Record<string, string>> => {
  const training = join(run, "checkpoints", `step-${steps}`, "training");
  return {
    state: digest(join(training, "training.safetensors")),
    random: digest(join(training, "training.json")),
    adapter: digest(join(run, "adapter", "adapter_model.safetensors")),
  };
};

const problem = (run: string, text: string): Error => new Error(`${run}: ${text}`);

/** A whole run holds each step once, in order, and has passed over no checkpoint. */
const checkRecord = (run: string, steps: number, activation: readonly number[]): void => {
  const lines = readFileSync(fileOf(run), "utf8").trimEnd().split("\n");
  if (lines.length !== recordOf(run).length) throw problem(run, "a line of the record is not whole");
  const wanted = Array.from({ length: steps }, (_, index) => index + 1);
  if (JSON.stringify(stepsOf(run, "weights")) !== JSON.stringify(wanted))
    throw problem(run, `the record's steps are ${stepsOf(run, "weights").join(" ")}`);
  if (JSON.stringify(stepsOf(run, "activation")) !== JSON.stringify(activation))
    throw problem(run, "the record's activation steps are not those of the undisturbed run");
  const passedOver = recordOf(run).find(({ message }) => message?.includes("passed over"));
  if (passedOver !== undefined) throw problem(run, `a half checkpoint was found: ${passedOver.message}`);
};

/** Starts or resumes a run; told when its record grows, which is when it has begun. */
const startRun = ({ command, folder }: KillOptions, run: string) => {
  const before = existsSync(fileOf(run)) ? statSync(fileOf(run)).mtimeMs : 0;
  const child = execa(
    process.execPath,
    [...command, "train", join(folder, "spec.json"), "--out", run, "--resume", "--json"],
    { reject: false },
  );
  const ended = child.then(() => undefined);
  const began = async (): Promise<void> => {
    while (child.exitCode === null && child.signalCode === null) {
      if (existsSync(fileOf(run)) && statSync(fileOf(run)).mtimeMs > before) return;
      await wait(5);
    }
  };
  return { child, began, ended };
};

const finish = async (options: KillOptions, run: string): Promise<number> => {
  const { child, began } = startRun(options, run);
  await began();
  const at = performance.now();
  const { exitCode, stderr } = await child;
  if (exitCode !== 0) throw problem(run, `exit code ${String(exitCode)}: ${stderr.slice(-2000)}`);
  return performance.now() - at;
};

const longestStart = 4000;
/** Where the driver is killed nobody is left to end Ray's agents, which look for it now and then. */
const secondsToLeave = { rank: 5, head: 5, driver: 120 } as const;
const expectedCodes = ["scale/lost", "bridge/died"];

/** Kills a part of a run and waits until the program has ended by itself, with all that it had started. */
const killPartOnce = async (
  { part, random }: { readonly part: Part; readonly random: () => number },
  { child, run }: { readonly child: ReturnType<typeof startRun>["child"]; readonly run: string },
): Promise<number | undefined> => {
  const started = child.pid === undefined ? undefined : killPart(child.pid, part, random);
  if (started === undefined) return undefined;
  const at = performance.now();
  const { exitCode, stdout, stderr } = await child;
  const seconds = (performance.now() - at) / 1000;
  if (exitCode === 0) return undefined;
  const said = `${stdout}\n${stderr}`;
  if (!expectedCodes.some((code) => said.includes(code)))
    throw problem(
      run,
      `it ended with ${String(exitCode)}, without an error of ${expectedCodes.join(" or ")}: ${said}`,
    );
  const left = await leftAfter(started, secondsToLeave[part]);
  if (left.length > 0) throw problem(run, `it left processes: ${left.join("; ")}`);
  return seconds;
};

/** A kill: the steps that the run's record held then, and for a part of it how long the program took to end. */
interface Kill {
  readonly step: number;
  readonly seconds?: number;
}

/**
 * Kills a run once, at any moment of its steps, or `early`, before it has begun; undefined where it had ended before.
 */
const killOnce = async (
  options: KillOptions,
  run: string,
  { duration, early }: { readonly duration: number; readonly early: boolean },
): Promise<Kill | undefined> => {
  const { random, part } = options;
  const { child, began, ended } = startRun(options, run);
  if (early) await Promise.race([wait(random() * longestStart), ended]);
  else {
    await began();
    await Promise.race([wait(random() * duration), ended]);
  }
  if (part !== undefined) {
    const seconds = await killPartOnce({ part, random }, { child, run });
    return seconds === undefined ? undefined : { step: Math.max(0, ...stepsOf(run, "weights")), seconds };
  }
  if (!child.kill("SIGKILL")) return undefined;
  const { exitCode, signal } = await child;
  if (exitCode === undefined && signal === "SIGKILL") return { step: Math.max(0, ...stepsOf(run, "weights")) };
  if (exitCode === 0) return undefined;
  throw problem(run, `it ended by itself with ${String(exitCode)}`);
};

const isFinished = (run: string): boolean => {
  const file = join(run, "run.json");
  return existsSync(file) && JSON.parse(readFileSync(file, "utf8")).state === "finished";
};

/**
 * Makes a run undisturbed, then others that are killed with signal 9 at random moments and resumed, until there were
 * enough kills; each must end with the very same numbers and a record without gap or duplicate.
 * @throws Error that says which run differs, and how.
 */
export const killAndResume = async (options: KillOptions): Promise<KillResult> => {
  const { spec, folder, kills, onLine = () => undefined } = options;
  const steps = spec.train.maxSteps;
  writeFileSync(join(folder, "spec.json"), JSON.stringify(spec));
  const straight = join(folder, "straight");
  const duration = await finish(options, straight);
  const expected = JSON.stringify(trainedOf(straight, steps));
  const activation = stepsOf(straight, "activation");
  checkRecord(straight, steps, activation);
  onLine(`undisturbed: ${(duration / 1000).toFixed(1)} s for ${steps} steps, ${activation.length} of them bi-level`);
  const killed: Kill[] = [];
  let runs = 0;
  while (killed.length < kills) {
    const run = join(folder, `killed-${runs}`);
    // A kill every third of the run on average, so that most runs are killed more than once.
    while (killed.length < kills && !isFinished(run)) {
      // A part of a run that has not begun may not be there yet.
      const early = options.part === undefined && killed.length % 5 === 4;
      const kill = await killOnce(options, run, { duration: duration / 1.5, early });
      if (kill === undefined) break;
      killed.push(kill);
      const ended = kill.seconds === undefined ? "" : `, ended after ${kill.seconds.toFixed(1)} s`;
      onLine(`kill ${killed.length} of ${kills}: ${run} at step ${kill.step}${ended}`);
    }
    if (!isFinished(run)) await finish(options, run);
    checkRecord(run, steps, activation);
    const found = JSON.stringify(trainedOf(run, steps));
    if (found !== expected) throw problem(run, `its numbers differ from the undisturbed run's: ${found} ${expected}`);
    const left = readdirSync(run).filter((name) => name.startsWith(".") || name === "run.lock");
    if (left.length > 0) throw problem(run, `it left ${left.join(", ")}`);
    runs += 1;
    onLine(`run ${runs}: bit-identical after its kills`);
  }
  const secondsToEnd = killed.flatMap(({ seconds }) => (seconds === undefined ? [] : [seconds]));
  return { kills: killed.length, runs, killedAt: killed.map(({ step }) => step), secondsToEnd };
};
