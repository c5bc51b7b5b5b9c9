import { existsSync } from "node:fs";
import { openEventLog, type EventLog } from "../runs/events.js";
import type { Manifest } from "../runs/manifest.js";
import { runFolder, writeManifest } from "../runs/run-folder.js";
import { shortHash } from "../util/records.js";
import { openNew, openResumed, parametersOf, type OpenedRun, type RunToOpen } from "./open-run.js";
import type { RunControl, TrainResult } from "./run-handle.js";
import { openTensorboard } from "./tensorboard.js";
import { runLoop, type LoopOutcome } from "./train.js";

export interface FineTuneOptions extends Omit<RunToOpen, "allow"> {
  readonly resume: boolean;
  readonly allow?: readonly string[] | undefined;
  readonly control: RunControl;
}

const tellStart = (options: FineTuneOptions, { folder, trainer, from, warnings }: OpenedRun, log: EventLog): void => {
  const { train, dev, devSource } = trainer.rows;
  const emit: RunControl["emit"] = (event) => {
    log.append(event);
    options.control.emit(event);
  };
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

const resultOf = ({ folder }: OpenedRun, reached: LoopOutcome): TrainResult => {
  const { step: steps, stoppedBy, best, tokensPerSecond, skipped } = reached;
  return { folder: folder.root, adapter: folder.adapter, steps, stoppedBy, best, tokensPerSecond, skipped };
};

/** The run's control, whose events also go to TensorBoard where the spec asks for it. */
const openTracking = async ({ backend, control }: FineTuneOptions, { folder, trainer, from }: OpenedRun) => {
  if (trainer.settings.tensorboard !== true) return { control, close: async () => undefined };
  const log = await openTensorboard(backend, { folder: folder.tensorboard, from: from?.step ?? null });
  const emit: RunControl["emit"] = (event) => {
    log.add(event);
    control.emit(event);
  };
  return { control: { ...control, emit }, close: log.close };
};

type Tracking = Awaited<ReturnType<typeof openTracking>>;

/** Ends the tracking; what it failed at is told, and ends nothing. */
const closeTracking = async ({ control, close }: Tracking, log: EventLog): Promise<void> => {
  const failure = await close();
  if (failure === undefined) return;
  const event = { type: "warning", message: `TensorBoard's file is not whole: ${failure.message}` } as const;
  log.append(event);
  control.emit(event);
};

const finishedManifest = ({ manifest, trainer }: OpenedRun, result: TrainResult): Manifest => {
  const { steps: step, stoppedBy, best, tokensPerSecond, skipped } = result;
  const finished = trainer.step >= trainer.totalSteps || stoppedBy === "patience";
  const found = { plan: shortHash(trainer.config), parameters: parametersOf(trainer) };
  const figures = { step, stoppedBy, best, tokensPerSecond, skipped, ...found };
  return { ...manifest, state: finished ? "finished" : "stopped", ...figures };
};

/** The loop of an opened run, with its record kept whatever happens. */
const loopAndRecord = async (options: FineTuneOptions, opened: OpenedRun): Promise<TrainResult> => {
  const { folder, trainer, manifest, from } = opened;
  let log: EventLog | undefined;
  let tracking: Tracking | undefined;
  try {
    log = openEventLog(folder.events, options.resume ? (from?.eventBytes ?? 0) : undefined);
    tracking = await openTracking(options, opened);
    const { control } = tracking;
    tellStart({ ...options, control }, opened, log);
    const outcome = await runLoop({ trainer, folder, log, control, from });
    await closeTracking(tracking, log);
    const result = resultOf(opened, outcome);
    await writeManifest(folder, finishedManifest(opened, result));
    return result;
  } catch (error) {
    await tracking?.close();
    const message = error instanceof Error ? error.message : String(error);
    await writeManifest(folder, { ...manifest, state: "failed", step: trainer.step, error: message }).catch(
      () => undefined,
    );
    throw error;
  } finally {
    log?.close();
  }
};

/** One training run in its folder, new or resumed: opened, looped, recorded. */
export const fineTune = async (options: FineTuneOptions): Promise<TrainResult> => {
  const run = { ...options, allow: options.allow ?? [] };
  const resume = options.resume && existsSync(runFolder(options.out).manifest);
  const opened = resume ? await openResumed(run) : await openNew(run);
  try {
    return await loopAndRecord({ ...options, resume }, opened);
  } finally {
    // A failure of its own (Python is gone, say) would hide the error that matters.
    await opened.trainer.close().catch(() => undefined);
    opened.release();
  }
};
