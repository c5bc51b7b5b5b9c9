import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { MiloraError } from "../errors.js";
import { pruneCheckpoints, writeCheckpoint, type LoopState } from "../runs/checkpoint.js";
import type { EventLog, TrainEvent } from "../runs/events.js";
import { writePlan, type RunFolder } from "../runs/run-folder.js";
import type { Batch } from "./batches.js";
import type { RunControl } from "./run-handle.js";
import type { StepFigures, Trainer } from "./trainer.js";

/** Steps in a row without a finite loss or gradient that end a run. */
const nonFiniteLimit = 5;
/** Figures are read when this many steps are waiting, or this many milliseconds went by. */
const figuresEvery = { steps: 20, milliseconds: 1000 };

/** What a loop has reached; goes on from `from` in a resumed run. */
export interface LoopOutcome {
  readonly stoppedBy: string;
  readonly state: LoopState;
}

interface Progress {
  best: LoopState["best"];
  evaluationsWithoutBest: number;
  evaluatedAt: number;
  seconds: number;
  tokens: number;
  nonFinite: number;
}

const startProgress = (from: LoopState | undefined): Progress => ({
  best: from?.best ?? null,
  evaluationsWithoutBest: from?.evaluationsWithoutBest ?? 0,
  evaluatedAt: -1,
  seconds: from?.seconds ?? 0,
  tokens: from?.tokens ?? 0,
  nonFinite: 0,
});

interface LoopParts {
  readonly trainer: Trainer;
  readonly folder: RunFolder;
  readonly log: EventLog;
  readonly control: RunControl;
  readonly from: LoopState | undefined;
}

/** The parts of the loop share this: the parts it was given, where it stands, and how it tells. */
interface Loop extends LoopParts {
  readonly progress: Progress;
  readonly emit: (event: TrainEvent) => void;
}

const countNonFinite = ({ progress, emit }: Loop, figures: StepFigures): void => {
  if (figures.answerTokens === 0) return;
  if (figures.loss !== null && figures.gradientNorm !== null) {
    progress.nonFinite = 0;
    return;
  }
  progress.nonFinite += 1;
  emit({ type: "warning", message: `Step ${figures.step}: loss or gradient is not finite; the update was skipped.` });
  if (progress.nonFinite >= nonFiniteLimit)
    throw new MiloraError(
      "training/non-finite",
      `Loss or gradient was not finite in ${nonFiniteLimit} steps in a row, up to step ${figures.step}.`,
      {
        hint: "Lower train.learningRate or try train.dtype float32; the last checkpoint and the best adapter are kept.",
      },
    );
};

const readFigures = async (loop: Loop): Promise<void> => {
  for (const figures of await loop.trainer.figures()) {
    loop.emit({ type: "step", ...figures });
    if (figures.kind === "weights") loop.progress.tokens += figures.tokens;
    countNonFinite(loop, figures);
  }
};

/** Dev perplexity; the adapter is saved when it is the best so far. An evaluation that a stop cuts short is none. */
const evaluate = async (loop: Loop): Promise<void> => {
  const { trainer, progress, control, folder, emit } = loop;
  const loss = await trainer.devLoss({ signal: control.stopping }).catch((error: unknown) => {
    if (MiloraError.isInstance(error) && error.code === "cancelled") return undefined;
    throw error;
  });
  if (loss === undefined) return;
  progress.evaluatedAt = trainer.step;
  const lower = Number.isFinite(loss.perplexity) && loss.perplexity < (progress.best?.devPerplexity ?? Infinity);
  const best = trainer.mayBeBest && lower;
  if (best) {
    await trainer.save(folder.adapter);
    progress.best = { step: trainer.step, devPerplexity: loss.perplexity };
  }
  if (trainer.mayBeBest) progress.evaluationsWithoutBest = best ? 0 : progress.evaluationsWithoutBest + 1;
  emit({ type: "evaluation", step: trainer.step, best, ...loss });
  // Whoever iterates over the events may stop the run here, before the next step.
  await setImmediate();
};

const stateOf = ({ trainer, progress, log }: Loop): LoopState => ({
  format: 1,
  ...trainer.position,
  best: progress.best,
  evaluationsWithoutBest: progress.evaluationsWithoutBest,
  eventBytes: log.sync(),
  seconds: progress.seconds,
  tokens: progress.tokens,
});

const checkpoint = async (loop: Loop): Promise<void> => {
  const { trainer, folder, emit } = loop;
  // Told before it is written, so that the event belongs to the bytes that the checkpoint vouches for.
  emit({ type: "checkpoint", step: trainer.step, folder: join(folder.checkpoints, `step-${trainer.step}`) });
  await writeCheckpoint(folder.checkpoints, stateOf(loop), (path) => trainer.saveState(path));
  pruneCheckpoints(folder.checkpoints, trainer.settings.keepCheckpoints);
};

/** Whether a step on Θ follows: in a search after each step on Ω, else as the settings say. */
const movesActivation = ({ phase, settings, method, step }: Trainer): boolean => {
  if (phase.search !== null) return true;
  const { activationLearningRate, activationEvery } = settings;
  return method.capabilities.bilevel && activationLearningRate > 0 && step % activationEvery === 0;
};

const oneStep = async (trainer: Trainer, batch: Batch): Promise<void> => {
  await trainer.weightsStep(batch);
  if (movesActivation(trainer)) await trainer.activationStep(trainer.nextDevBatch());
};

const prunesNow = ({ phase: { search, start }, step }: Trainer): boolean => {
  const every = search?.pruneEvery ?? null;
  return every !== null && (step - start) % every === 0;
};

const prune = async ({ trainer, emit }: Loop): Promise<void> => {
  const left = await trainer.pruneCandidates();
  emit({ type: "pruned", step: trainer.step, left });
};

const stopReason = ({ trainer, progress, control }: Loop): string | undefined => {
  const { patience, maxSteps } = trainer.settings;
  if (control.stopReason() !== undefined) return control.stopReason();
  if (progress.evaluationsWithoutBest >= patience) return "patience";
  if (trainer.step < trainer.totalSteps) return undefined;
  return trainer.totalSteps === maxSteps ? "max-steps" : "epochs";
};

/** Steps to the end of the phase, or to a reason to stop; the clock counts training only, not evaluations or saves. */
const makeSteps = async (loop: Loop): Promise<string | undefined> => {
  const { trainer, progress } = loop;
  const { evalEvery, checkpointEvery } = trainer.settings;
  let clock = performance.now();
  let readAt = clock;
  const pause = async (work: () => Promise<void>): Promise<void> => {
    await readFigures(loop);
    progress.seconds += (performance.now() - clock) / 1000;
    await work();
    clock = performance.now();
    readAt = clock;
  };
  for (const batch of trainer.batches()) {
    await oneStep(trainer, batch);
    const now = performance.now();
    if (trainer.step % figuresEvery.steps === 0 || now - readAt > figuresEvery.milliseconds) {
      await readFigures(loop);
      readAt = now;
    }
    // Before an evaluation or a checkpoint, which are of the candidates that are left.
    if (prunesNow(trainer)) await pause(() => prune(loop));
    if (trainer.step % evalEvery === 0) await pause(() => evaluate(loop));
    if (stopReason(loop) !== undefined) break;
    // The end of a phase has a checkpoint of its own.
    if (trainer.step % checkpointEvery === 0 && trainer.stepsLeft > 0) await pause(() => checkpoint(loop));
  }
  await pause(async () => undefined);
  return stopReason(loop);
};

const tellPhase = ({ trainer, emit }: Loop): void => {
  const { name, index, of, steps } = trainer.phase;
  if (of > 1) emit({ type: "phase", name, index, of, step: trainer.step, steps, trainable: trainer.trainable });
};

/** From a search to the training of what it found. Killed in between, a run finds it again from the checkpoint. */
const enterNextPhase = async (loop: Loop): Promise<void> => {
  const { trainer, folder } = loop;
  await checkpoint(loop);
  const search = trainer.config;
  await trainer.nextPhase();
  await writePlan(folder.searchPlan, search);
  await writePlan(folder.plan, trainer.config);
  tellPhase(loop);
};

/** Every phase, in order, until there is a reason to stop. */
const runPhases = async (loop: Loop): Promise<string> => {
  tellPhase(loop);
  for (;;) {
    const reason = await makeSteps(loop);
    if (reason !== undefined) return reason;
    await enterNextPhase(loop);
  }
};

/**
 * The training loop (paper, section 3.3 and appendix A): Ω steps on D_train, Θ steps on D_val between them, a search
 * before them where the method has one, dev perplexity every `evalEvery` steps, early stopping, the best adapter kept
 * in `adapter/`.
 */
export const runLoop = async (parts: LoopParts): Promise<LoopOutcome> => {
  const { trainer, log, control, folder, from } = parts;
  const emit = (event: TrainEvent): void => {
    log.append(event);
    control.emit(event);
  };
  const loop: Loop = { ...parts, emit, progress: startProgress(from) };
  const { progress } = loop;
  const stoppedBy = await runPhases(loop);
  if (progress.evaluatedAt !== trainer.step && control.stopReason() === undefined) await evaluate(loop);
  if (progress.best === null) await trainer.save(folder.adapter);
  await checkpoint(loop);
  emit({
    type: "finished",
    step: trainer.step,
    stoppedBy,
    best: progress.best,
    tokensPerSecond: progress.seconds > 0 ? progress.tokens / progress.seconds : 0,
    seconds: progress.seconds,
  });
  log.sync();
  return { stoppedBy, state: stateOf(loop) };
};
