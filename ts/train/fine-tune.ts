import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Backend } from "../backend/backend.js";
import { MiloraError } from "../errors.js";
import { resolveMethod } from "../methods/registry.js";
import type { ModelGraph } from "../graph/model-graph.js";
import { newestCheckpoint, type LoopState } from "../runs/checkpoint.js";
import { openEventLog } from "../runs/events.js";
import { runFormatVersion, type Manifest } from "../runs/manifest.js";
import {
  createRunFolder,
  readManifest,
  readPlan,
  runFolder,
  writeManifest,
  writePlan,
  type RunFolder,
} from "../runs/run-folder.js";
import type { RunSpec } from "../spec/run.js";
import { createTrainer } from "./create-trainer.js";
import type { RunControl, TrainResult } from "./run-handle.js";
import { runLoop } from "./train.js";
import type { Trainer } from "./trainer.js";
import { loadTrainingData, writeTrainingData } from "./training-data.js";
import { methodFromWarmStart } from "./warm-start.js";

/** The name of the adapter that a run trains, on the Python side. */
const adapterName = "trained";

export interface FineTuneOptions {
  readonly backend: Backend;
  readonly graph: ModelGraph;
  readonly spec: RunSpec;
  /** The run's folder. */
  readonly out: string;
  readonly resume: boolean;
  readonly control: RunControl;
  /** Device, dtype and versions of the open session, for the record. */
  readonly session: {
    readonly device: string;
    readonly dtype: string;
    readonly versions: Readonly<Record<string, string>>;
  };
}

interface Opened {
  readonly folder: RunFolder;
  readonly trainer: Trainer;
  readonly format: "plain" | "chat";
  readonly from: LoopState | undefined;
  /** What is odd about the rows; told once, when the run is new. */
  readonly warnings: readonly string[];
}

const rowFiles = (folder: RunFolder) => ({
  train: join(folder.data, "train.jsonl"),
  dev: join(folder.data, "dev.jsonl"),
});

/** What fails once a trainer is open must not leave its adapter behind. */
const orClose = async (trainer: Trainer, work: () => Promise<void>): Promise<void> => {
  try {
    await work();
  } catch (error) {
    await trainer.close().catch(() => undefined);
    throw error;
  }
};

const openNew = async ({ backend, graph, spec, out }: FineTuneOptions): Promise<Opened> => {
  const method = resolveMethod(graph, await methodFromWarmStart(spec.method, spec.train));
  const data = await loadTrainingData(spec.data, spec.train.seed);
  const folder = createRunFolder(out);
  try {
    const files = await writeTrainingData(data, folder.data);
    const { format, devSource, warnings } = data;
    const rows = { files, format, devSource };
    const trainer = await createTrainer({ backend, adapter: adapterName, method, settings: spec.train, ...rows });
    await orClose(trainer, () => writePlan(folder.plan, trainer.config));
    return { folder, trainer, format, from: undefined, warnings };
  } catch (error) {
    // There is no run yet; what is left of it would be in the way of the next try.
    rmSync(folder.root, { recursive: true, force: true });
    throw error;
  }
};

const changedFields = (before: unknown, now: unknown, path = ""): readonly string[] => {
  if (typeof before !== "object" || typeof now !== "object" || before === null || now === null)
    return before === now ? [] : [`${path}: ${JSON.stringify(before)} → ${JSON.stringify(now)}`];
  const keys = new Set([...Object.keys(before), ...Object.keys(now)]);
  return [...keys].flatMap((key) =>
    changedFields(Reflect.get(before, key), Reflect.get(now, key), path === "" ? key : `${path}.${key}`),
  );
};

const checkResumable = (folder: RunFolder, manifest: Manifest, spec: RunSpec): void => {
  if (manifest.state === "finished")
    throw new MiloraError(
      "run/not-resumable",
      `The run in ${folder.root} is finished (${manifest.stoppedBy ?? "done"} at step ${manifest.step}).`,
      {
        file: folder.root,
        hint: "Start a new run to train longer.",
      },
    );
  const changed = changedFields(manifest.spec, spec);
  if (changed.length > 0)
    throw new MiloraError(
      "run/not-resumable",
      `The spec differs from the one that the run in ${folder.root} was started with:\n${changed.map((line) => `  - ${line}`).join("\n")}`,
      { file: folder.root, problems: changed, hint: "Resume with the spec as it was, or start a new run." },
    );
};

const checkRows = (folder: RunFolder, { data }: Manifest, { rows: { train, dev } }: Trainer): void => {
  if (train.checksum === data.train && dev.checksum === data.dev) return;
  throw new MiloraError(
    "run/not-resumable",
    `The rows in ${folder.data} are not the ones that the run was started with.`,
    { file: folder.data, hint: "Put the files back as they were, or start a new run." },
  );
};

const openResumed = async ({ backend, graph, spec, out }: FineTuneOptions): Promise<Opened> => {
  const folder = runFolder(out);
  const manifest = readManifest(folder);
  checkResumable(folder, manifest, spec);
  const method = resolveMethod(graph, await methodFromWarmStart(spec.method, spec.train));
  const files = rowFiles(folder);
  const { format } = manifest.data;
  const devSource = "the rows that the run was started with";
  const checkpoint = newestCheckpoint(folder.checkpoints);
  const phase = checkpoint?.state.phase ?? 0;
  // What a search found stands in the plan; the first phase's plan is computed.
  const at = phase > 0 ? { phase, config: await readPlan(folder) } : undefined;
  const trainer = await createTrainer({
    backend,
    adapter: adapterName,
    method,
    settings: spec.train,
    files,
    format,
    devSource,
    at,
  });
  await orClose(trainer, async () => {
    checkRows(folder, manifest, trainer);
    if (checkpoint !== undefined) await trainer.restore(checkpoint.state, join(checkpoint.folder, "training"));
  });
  return { folder, trainer, format, from: checkpoint?.state, warnings: [] };
};

/** The method's counts, or where a search is over those of what it found, all of which is active. */
const parametersOf = ({ method: { count }, phase, trainable }: Trainer): Manifest["parameters"] =>
  phase.index === 0
    ? { trainable: count.trainable, activated: { ...count.activated } }
    : { trainable, activated: { min: trainable, mean: trainable, max: trainable } };

const firstManifest = ({ spec, session }: FineTuneOptions, { trainer, format, from }: Opened): Manifest => ({
  format: runFormatVersion,
  state: "running",
  created: new Date().toISOString(),
  updated: new Date().toISOString(),
  versions: { ...session.versions },
  device: session.device,
  dtype: session.dtype,
  spec,
  data: { train: trainer.rows.train.checksum, dev: trainer.rows.dev.checksum, format },
  step: from?.step ?? 0,
  stoppedBy: null,
  best: from?.best ?? null,
  tokensPerSecond: null,
  parameters: parametersOf(trainer),
  error: null,
});

const tellStart = (
  options: FineTuneOptions,
  { folder, trainer, from, warnings }: Opened,
  emit: RunControl["emit"],
): void => {
  const { train, dev, devSource } = trainer.rows;
  emit({
    type: "started",
    run: folder.root,
    method: trainer.method.label,
    model: options.graph.model,
    device: options.session.device,
    dtype: options.session.dtype,
    trainable: trainer.method.count.trainable,
    rows: { train: train.rows, dev: dev.rows, dropped: train.dropped.length, truncated: train.truncated.length },
    devSource,
    steps: trainer.totalSteps,
    resumedAt: from?.step ?? null,
  });
  for (const message of warnings) emit({ type: "warning", message });
  if (train.dropped.length > 0)
    emit({
      type: "warning",
      message: `${train.dropped.length} training row(s) dropped: their answer alone is too long.`,
    });
};

const resultOf = (folder: RunFolder, stoppedBy: string, state: LoopState): TrainResult => ({
  folder: folder.root,
  adapter: folder.adapter,
  steps: state.step,
  stoppedBy,
  best: state.best,
  tokensPerSecond: state.seconds > 0 ? state.tokens / state.seconds : 0,
});

/** One training run in its folder, new or resumed: opened, looped, recorded. */
export const fineTune = async (options: FineTuneOptions): Promise<TrainResult> => {
  const resume = options.resume && existsSync(runFolder(options.out).manifest);
  const opened = resume ? await openResumed(options) : await openNew(options);
  const { folder, trainer, from } = opened;
  const manifest = resume
    ? { ...readManifest(folder), state: "running" as const, error: null }
    : firstManifest(options, opened);
  await writeManifest(folder, manifest);
  const log = openEventLog(folder.events, resume ? (from?.eventBytes ?? 0) : undefined);
  const { control } = options;
  try {
    tellStart(options, opened, (event) => {
      log.append(event);
      control.emit(event);
    });
    const { stoppedBy, state } = await runLoop({ trainer, folder, log, control, from });
    const result = resultOf(folder, stoppedBy, state);
    const { steps: step, best, tokensPerSecond } = result;
    const finished = trainer.step >= trainer.totalSteps || stoppedBy === "patience";
    const ended = finished ? ("finished" as const) : ("stopped" as const);
    const parameters = parametersOf(trainer);
    await writeManifest(folder, { ...manifest, state: ended, step, stoppedBy, best, tokensPerSecond, parameters });
    return result;
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    await writeManifest(folder, { ...manifest, state: "failed", step: trainer.step, error: message }).catch(
      () => undefined,
    );
    throw error;
  } finally {
    log.close();
    // A failure of its own (Python is gone, say) would hide the error that matters.
    await trainer.close().catch(() => undefined);
  }
};
