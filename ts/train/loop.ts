import { join } from "node:path";
import { pruneCheckpoints, writeCheckpoint, type LoopState } from "../runs/checkpoint.js";
import { checkFreeSpace } from "../runs/disk.js";
import type { EventLog, TrainEvent } from "../runs/events.js";
import type { RunFolder } from "../runs/run-folder.js";
import type { RunControl } from "./run-handle.js";
import type { StallWatch } from "./stall-watch.js";
import type { Trainer } from "./trainer.js";

/** What a loop is given. */
export interface LoopParts {
  readonly trainer: Trainer;
  readonly folder: RunFolder;
  readonly log: EventLog;
  readonly control: RunControl;
  /** Where a resumed run goes on. */
  readonly from: LoopState | undefined;
}

/** What a loop has reached; the counts go on where a resumed run stands. */
interface Progress {
  best: LoopState["best"];
  evaluationsWithoutBest: number;
  evaluatedAt: number;
  seconds: number;
  tokens: number;
  readonly skipped: { total: number; readonly inARow: { weights: number; activation: number } };
  /** A hook asked for a checkpoint after this step. */
  saveAsked: boolean;
}

export const startProgress = (from: LoopState | undefined): Progress => ({
  best: from?.best ?? null,
  evaluationsWithoutBest: from?.evaluationsWithoutBest ?? 0,
  evaluatedAt: from === undefined ? -1 : (from.evaluatedAt ?? from.step),
  seconds: from?.seconds ?? 0,
  tokens: from?.tokens ?? 0,
  skipped: { total: from?.skipped.total ?? 0, inARow: { weights: 0, activation: 0, ...from?.skipped.inARow } },
  saveAsked: false,
});

/** The parts of the loop share this: the parts it was given, where it stands, and how it tells. */
export interface Loop extends LoopParts {
  readonly progress: Progress;
  readonly emit: (event: TrainEvent) => void;
  readonly watch: StallWatch;
}

const stateOf = ({ trainer, progress, log }: Loop): LoopState => ({
  ...trainer.position,
  best: progress.best,
  evaluationsWithoutBest: progress.evaluationsWithoutBest,
  evaluatedAt: progress.evaluatedAt,
  skipped: structuredClone(progress.skipped),
  eventBytes: log.sync(),
  seconds: progress.seconds,
  tokens: progress.tokens,
});

/** Bytes of a checkpoint: value and two moments of each trainable in float32, and the random states. */
export const checkpointBytes = (trainable: number): number => 12 * trainable + 64 * 1024;

/** Looks whether the next checkpoint fits on the disk. Errors: `run/disk`. */
export const checkRoom = ({ trainer, folder }: Pick<Loop, "trainer" | "folder">): void =>
  checkFreeSpace(folder.checkpoints, checkpointBytes(trainer.trainable));

export const checkpoint = async (loop: Loop): Promise<void> => {
  const { trainer, folder, progress, emit, watch } = loop;
  const { checkpoints, adapter } = folder;
  watch.beat("checkpoint");
  checkRoom(loop);
  // Told before it is written, so that the event belongs to the bytes that the checkpoint vouches for.
  emit({ type: "checkpoint", step: trainer.step, folder: join(checkpoints, `step-${trainer.step}`) });
  await writeCheckpoint({
    checkpoints,
    state: stateOf(loop),
    saveTensors: (path) => trainer.saveState(path),
    best: progress.best === null ? undefined : adapter,
  });
  const { keepCheckpoints: keep } = trainer.settings;
  pruneCheckpoints(checkpoints, { keep, step: trainer.step, best: progress.best?.step });
};

/** Asks the hook about a step or an evaluation, and does what it decides. */
export const decide = async (
  { trainer, control, progress }: Loop,
  event: Extract<TrainEvent, { type: "step" | "evaluation" }>,
): Promise<void> => {
  const decision = await control.decide?.(event);
  if (decision?.rateFactor !== undefined) trainer.scaleRates(decision.rateFactor);
  if (decision?.save === true) progress.saveAsked = true;
  if (decision?.stop !== undefined) control.stop(decision.stop);
};
