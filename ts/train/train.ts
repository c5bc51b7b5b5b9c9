import { setImmediate } from "node:timers/promises";
import { MiloraError } from "../errors.js";
import type { TrainEvent } from "../runs/events.js";
import { writePlan } from "../runs/run-folder.js";
import type { Batch } from "./batches.js";
import type { DevLoss } from "./dev-loss.js";
import { readFigures, withDevRows } from "./guards.js";
import { checkpoint, checkRoom, decide, startProgress, type Loop, type LoopParts } from "./loop.js";
import { watchStalls } from "./stall-watch.js";
import type { Trainer } from "./trainer.js";

/** Figures are read when this many steps are waiting, or this many milliseconds went by; after each for a hook. */
const figuresEvery = { steps: 20, milliseconds: 1000 };

/** What a loop has reached, as its `finished` event tells it. */
export type LoopOutcome = Omit<Extract<TrainEvent, { type: "finished" }>, "type">;

/** The loss of the dev set; undefined where a stop cuts it short. */
const devLoss = async (loop: Loop): Promise<DevLoss | undefined> => {
  try {
    return await loop.trainer.devLoss({ signal: loop.control.stopping });
  } catch (error) {
    if (MiloraError.isInstance(error) && error.code === "cancelled") return undefined;
    throw await withDevRows(loop, error);
  }
};

/** Dev perplexity; the adapter is saved when it is the best so far. An evaluation that a stop cuts short is none. */
const evaluate = async (loop: Loop): Promise<void> => {
  const { trainer, progress, folder, emit } = loop;
  const loss = await devLoss(loop);
  if (loss === undefined) return;
  progress.evaluatedAt = trainer.step;
  const lower = Number.isFinite(loss.perplexity) && loss.perplexity < (progress.best?.devPerplexity ?? Infinity);
  const best = trainer.mayBeBest && lower;
  if (best) {
    await trainer.save(folder.adapter);
    progress.best = { step: trainer.step, devPerplexity: loss.perplexity };
  }
  if (trainer.mayBeBest) progress.evaluationsWithoutBest = best ? 0 : progress.evaluationsWithoutBest + 1;
  const event = { type: "evaluation", step: trainer.step, best, ...loss } as const;
  emit(event);
  await decide(loop, event);
  // Whoever iterates over the events may stop the run here, before the next step.
  await setImmediate();
};

/** Steps on Ω for each one on Θ: one in a search, else as the settings say; undefined where Θ never moves. */
export const weightsStepsPerActivation = ({ phase, settings, method }: Trainer): number | undefined => {
  if (phase.search !== null) return 1;
  const { activationLearningRate, activationEvery } = settings;
  return method.capabilities.bilevel && activationLearningRate > 0 ? activationEvery : undefined;
};

/** One step on Ω, and one on Θ where it is its turn. */
const oneStep = async (trainer: Trainer, batch: Batch): Promise<void> => {
  await trainer.weightsStep(batch);
  const every = weightsStepsPerActivation(trainer);
  if (every !== undefined && trainer.step % every === 0) await trainer.activationStep(trainer.nextDevBatch());
};

/** Calls `work`; where memory made it compute fewer rows at once, that is told. */
const tellingMicroBatch = async <Result>({ trainer, emit }: Loop, work: () => Promise<Result>): Promise<Result> => {
  const from = trainer.microBatch;
  const result = await work();
  const to = trainer.microBatch;
  if (to !== from) emit({ type: "microBatch", step: trainer.step, from, to });
  return result;
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

/** The clock of training; it stands still in evaluations and saves, which `pause` calls. */
const trainingClock = (loop: Loop) => {
  const { progress, watch } = loop;
  let clock = performance.now();
  let readAt = clock;
  return {
    readsDue: (): boolean => performance.now() - readAt > figuresEvery.milliseconds,
    read: async (): Promise<void> => {
      await readFigures(loop);
      readAt = performance.now();
    },
    pause: async (during: string, work: () => Promise<void>): Promise<void> => {
      await readFigures(loop);
      progress.seconds += (performance.now() - clock) / 1000;
      watch.beat(during);
      await work();
      watch.beat("steps");
      clock = performance.now();
      readAt = clock;
    },
  };
};

const evaluateNow = async (loop: Loop): Promise<void> => {
  loop.watch.beat("evaluation");
  await tellingMicroBatch(loop, () => evaluate(loop));
};

/** Steps to the end of the phase, or to a reason to stop. */
const makeSteps = async (loop: Loop): Promise<string | undefined> => {
  const { trainer, control, watch, progress } = loop;
  const { evalEvery, checkpointEvery } = trainer.settings;
  const { readsDue, read, pause } = trainingClock(loop);
  for (const batch of trainer.batches()) {
    await tellingMicroBatch(loop, () => oneStep(trainer, batch));
    watch.beat("steps");
    if (control.decide !== undefined || trainer.step % figuresEvery.steps === 0 || readsDue()) await read();
    // Before an evaluation or a checkpoint, which are of the candidates that are left.
    if (prunesNow(trainer)) await pause("pruning", () => prune(loop));
    if (trainer.step % evalEvery === 0) await pause("evaluation", () => evaluateNow(loop));
    if (stopReason(loop) !== undefined) break;
    const due = progress.saveAsked || trainer.step % checkpointEvery === 0;
    progress.saveAsked = false;
    // The end of a phase has a checkpoint of its own.
    if (due && trainer.stepsLeft > 0) await pause("checkpoint", () => checkpoint(loop));
  }
  await pause("phase", async () => undefined);
  return stopReason(loop);
};

const tellPhase = ({ trainer, emit }: Loop): void => {
  const { name, index, of, steps } = trainer.phase;
  if (of > 1) emit({ type: "phase", name, index, of, step: trainer.step, steps, trainable: trainer.trainable });
};

/** From a search to the training of what it found. Killed in between, a run finds it again from the checkpoint. */
const enterNextPhase = async (loop: Loop): Promise<void> => {
  const { trainer, folder, watch } = loop;
  await checkpoint(loop);
  watch.beat("phase");
  const search = trainer.config;
  await trainer.nextPhase();
  await writePlan(folder.searchPlan, search);
  await writePlan(folder.plan, trainer.config);
  tellPhase(loop);
};

/** A stop cuts the evaluation of its step short; the run that goes on makes it, as an undisturbed one would have. */
const evaluateOverdue = async (loop: Loop): Promise<boolean> => {
  const { trainer, progress, from } = loop;
  const due = from !== undefined && trainer.step > 0 && trainer.step % trainer.settings.evalEvery === 0;
  if (!due || progress.evaluatedAt === trainer.step) return false;
  await evaluateNow(loop);
  return true;
};

/** Every phase, in order, until there is a reason to stop. */
const runPhases = async (loop: Loop): Promise<string> => {
  tellPhase(loop);
  const overdue = (await evaluateOverdue(loop)) ? stopReason(loop) : undefined;
  if (overdue !== undefined) return overdue;
  for (;;) {
    const reason = await makeSteps(loop);
    if (reason !== undefined) return reason;
    await enterNextPhase(loop);
  }
};

/** With `microBatch: "auto"` a new run finds out what memory has room for; a resumed one goes on with what it had. */
const startMicroBatch = async ({ trainer, from, emit, watch }: Loop): Promise<void> => {
  watch.beat("trial of the micro-batch");
  if (from !== undefined || !(await trainer.tryMicroBatch())) return;
  emit({ type: "microBatch", step: 0, from: null, to: trainer.microBatch });
};

/** The last evaluation, adapter and checkpoint of a run. */
const finish = async (loop: Loop, stoppedBy: string): Promise<LoopOutcome> => {
  const { trainer, control, folder, progress, emit, log } = loop;
  if (progress.evaluatedAt !== trainer.step && control.stopReason() === undefined) await evaluateNow(loop);
  if (progress.best === null) await trainer.save(folder.adapter);
  await checkpoint(loop);
  const { best, seconds, tokens } = progress;
  const tokensPerSecond = seconds > 0 ? tokens / seconds : 0;
  const skipped = progress.skipped.total;
  const outcome = { step: trainer.step, stoppedBy, best, tokensPerSecond, seconds, skipped };
  emit({ type: "finished", ...outcome });
  log.sync();
  return outcome;
};

/**
 * The training loop (paper, section 3.3 and appendix A): Ω steps on D_train, Θ steps on D_val between them, a search
 * before them where the method has one, dev perplexity every `evalEvery` steps, early stopping, the best adapter kept
 * in `adapter/`.
 */
export const runLoop = async (parts: LoopParts): Promise<LoopOutcome> => {
  const { trainer, log, control, from } = parts;
  const emit = (event: TrainEvent): void => {
    log.append(event);
    control.emit(event);
  };
  const { stallMinutes: minutes } = trainer.settings;
  const watch = watchStalls(minutes, (during) => emit({ type: "stalled", step: trainer.step, minutes, during }));
  const loop: Loop = { ...parts, emit, watch, progress: startProgress(from) };
  try {
    // Better now than after hours: the first checkpoint must fit.
    checkRoom(loop);
    await startMicroBatch(loop);
    const stoppedBy = await runPhases(loop);
    return await finish(loop, stoppedBy);
  } finally {
    watch.close();
  }
};
