import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import type { Manifest } from "../runs/manifest.js";
import { readManifest, runFolder } from "../runs/run-folder.js";
import { evaluationFigures, type ScoreFigures, type TrainFigures } from "../runs/sweep-record.js";
import { writeFileAtomic } from "../util/files.js";
import type { ChildEnd, StartChild } from "./child.js";
import type { SweepJob } from "./expand.js";
import { taskPlace } from "./task-place.js";

/** `again`: whether another try may help; wrong input stays wrong. */
export interface JobFailure {
  readonly error: string;
  readonly again: boolean;
}

export type JobOutcome =
  | { readonly train: TrainFigures | null; readonly scores: readonly ScoreFigures[] | null }
  | JobFailure;

export interface JobPlaces {
  readonly root: string;
  readonly spec: string;
  /** The folder of the training run. */
  readonly run: string;
  /** Every row's output, of the untuned model. */
  readonly outputs: string;
}

export const jobPlaces = (out: string, id: string): JobPlaces => {
  const root = join(out, "runs", id);
  return { root, spec: join(root, "spec.json"), run: join(root, "run"), outputs: join(root, "outputs.json") };
};

const toldError = z.object({ error: z.object({ message: z.string() }) });

const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
};

/** What a child that did not end well says of it: its JSON error, else the last of its stderr. */
const failureOf = (what: string, { exitCode, signal, stdout, stderr }: ChildEnd): JobFailure => {
  const told = toldError.safeParse(parsed(stdout));
  const last = stderr.trimEnd().split("\n").slice(-5).join("\n");
  const how = signal === null ? `exit code ${String(exitCode)}` : `signal ${signal}`;
  return { error: `${what} (${how}): ${told.success ? told.data.error.message : last}`, again: exitCode !== 2 };
};

const finishedRun = (run: string): Manifest | undefined => {
  const folder = runFolder(run);
  const manifest = existsSync(folder.manifest) ? readManifest(folder) : undefined;
  return manifest?.state === "finished" ? manifest : undefined;
};

const figuresOf = (manifest: Manifest): TrainFigures => {
  const { versions, device, dtype, plan, step, stoppedBy, best, tokensPerSecond, parameters } = manifest;
  return { versions, device, dtype, plan, step, stoppedBy, best, tokensPerSecond, parameters };
};

const train = async (job: SweepJob, places: JobPlaces, start: StartChild): Promise<TrainFigures | JobFailure> => {
  const done = finishedRun(places.run);
  if (done !== undefined) return figuresOf(done);
  // A run killed before its record began left files that are in a new one's way.
  if (!existsSync(runFolder(places.run).manifest)) rmSync(places.run, { recursive: true, force: true });
  await writeFileAtomic(places.spec, `${JSON.stringify(job.spec, undefined, 2)}\n`);
  const args = ["train", places.spec, "--out", places.run, "--resume", "--json"];
  const end = await start({ args, folder: places.root, log: "train.log" });
  if (end.exitCode !== 0) return failureOf("train", end);
  const manifest = finishedRun(places.run);
  if (manifest !== undefined) return figuresOf(manifest);
  return { error: `train ended without an error, but ${places.run} holds no finished run`, again: true };
};

const option = (name: string, value: string | number | undefined): readonly string[] =>
  value === undefined ? [] : [`--${name}`, String(value)];

/** The arguments of `milora eval` for a job. */
const scoreArguments = ({ kind, spec, evaluate }: SweepJob, places: JobPlaces): readonly string[] => {
  const { model, data, train: settings } = spec;
  const { dir, hub } = taskPlace(data);
  return [
    "eval",
    ...option("model", model),
    ...option("tasks", evaluate?.tasks.join(",")),
    ...(kind === "run" ? option("adapter", runFolder(places.run).adapter) : option("outputs", places.outputs)),
    ...option("data", dir),
    ...option("hub", hub?.id),
    ...option("hub-config", hub?.config),
    ...option("hub-revision", hub?.revision),
    ...option("scorer", evaluate?.scorer),
    ...option("template", evaluate?.template),
    ...option("beams", evaluate?.beams),
    ...option("limit", evaluate?.limit),
    ...option("max-new-tokens", evaluate?.maxNewTokens),
    ...option("device", settings.device),
    ...option("dtype", settings.dtype),
    ...option("quantization", settings.quantization),
    "--json",
  ];
};

const score = async (
  job: SweepJob,
  places: JobPlaces,
  start: StartChild,
): Promise<readonly ScoreFigures[] | JobFailure> => {
  const end = await start({ args: scoreArguments(job, places), folder: places.root, log: "eval.log" });
  if (end.exitCode !== 0) return failureOf("eval", end);
  const said = evaluationFigures.safeParse(parsed(end.stdout));
  if (said.success) return said.data.results;
  return { error: `eval printed what is no result: ${end.stdout.slice(0, 200)}`, again: true };
};

/** One try at a job: trained (or gone on with, or found finished), then scored. */
export const tryJob = async (job: SweepJob, places: JobPlaces, start: StartChild): Promise<JobOutcome> => {
  const trained = job.kind === "run" ? await train(job, places, start) : null;
  if (trained !== null && "error" in trained) return trained;
  const scores = job.evaluate === undefined ? null : await score(job, places, start);
  if (scores !== null && "error" in scores) return scores;
  return { train: trained, scores };
};
