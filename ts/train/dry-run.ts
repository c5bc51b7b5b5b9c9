import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Backend } from "../backend/backend.js";
import type { Hub } from "../data/hub.js";
import type { ModelGraph } from "../graph/model-graph.js";
import type { ParameterCount } from "../graph/parameter-count.js";
import { resolveMethod } from "../methods/registry.js";
import type { RunSpec } from "../spec/run.js";
import { createTrainer } from "./create-trainer.js";
import { checkpointBytes } from "./loop.js";
import { estimateMemory, type MemoryEstimate } from "./memory-estimate.js";
import { weightsStepsPerActivation } from "./train.js";
import type { Trainer } from "./trainer.js";
import { loadTrainingData, writeTrainingData } from "./training-data.js";
import { countTokens, longestRows, usableRows, type LoadedRows } from "./training-rows.js";
import { methodFromWarmStart } from "./warm-start.js";

/** The name of the adapter that is tried, on the Python side. */
const trialName = "trial";

/** What a run would take, found out without making it. */
export interface TrainEstimate {
  /** The kind of the method. */
  readonly method: string;
  /** The model, as it was named. */
  readonly model: string;
  /** Where it would train. */
  readonly device: string;
  /** What the frozen model is held in. */
  readonly dtype: string;
  /** Parameters of each kind. */
  readonly parameters: {
    /** Of the frozen model. */
    readonly base: number;
    /** That train. */
    readonly trainable: number;
    /** Of the adapter, that take part in one token's pass. */
    readonly activated: ParameterCount["activated"];
  };
  /** Rows of both sets, and those that would be left out or cut. */
  readonly rows: {
    /** Training rows. */
    readonly train: number;
    /** Dev rows. */
    readonly dev: number;
    /** Rows left out: their answer does not fit into `train.maxLength`. */
    readonly dropped: number;
    /** Rows whose prompt would lose its start. */
    readonly truncated: number;
  };
  /** Weight steps of the whole training. */
  readonly steps: number;
  /** Rows of a step. */
  readonly batchSize: number;
  /** Rows computed at once; with `auto` what a trial found. */
  readonly microBatch: number;
  /** Bytes by arithmetic, and of a trial. */
  readonly memory: MemoryEstimate & {
    /** What the longest micro-batch took above the open model in a trial; 0 where the system does not say. */
    readonly trial: number;
  };
  /** Bytes of a checkpoint. */
  readonly checkpoint: number;
  /** Of the run but its saves, in seconds. */
  readonly time: {
    /** A mean step. */
    readonly step: number;
    /** An evaluation of the dev set. */
    readonly evaluation: number;
    /** All steps and evaluations. */
    readonly total: number;
  };
}

export interface DryRunOptions {
  readonly backend: Backend;
  readonly graph: ModelGraph;
  readonly spec: RunSpec;
  /** For rows that no local file holds. */
  readonly hub?: Hub | undefined;
  readonly vocabSize: number;
  readonly session: { readonly device: string; readonly dtype: string; readonly attention: string };
}

/** The seconds of `work`, which computes some tokens, as they would be for others. */
const scaled = async (work: () => Promise<number>, tokens: number): Promise<number> => {
  const start = performance.now();
  const done = await work();
  return ((performance.now() - start) / 1000 / Math.max(1, done)) * tokens;
};

/** A mean step: one on Ω and the part of one on Θ that each has. Two trials of both, of which the first warms up. */
const stepSeconds = async (trainer: Trainer): Promise<number> => {
  const { train, dev } = trainer.rows;
  const meanTokens = (rows: LoadedRows): number => (countTokens(rows) / usableRows(rows).length) * trainer.batchSize;
  const tokensOf = async (step: Promise<void>): Promise<number> => {
    await step;
    return (await trainer.figures()).at(-1)?.tokens ?? 1;
  };
  const every = weightsStepsPerActivation(trainer);
  let seconds = 0;
  for (const batch of trainer.batches()) {
    seconds = await scaled(() => tokensOf(trainer.weightsStep(batch)), meanTokens(train));
    const moveActivation = () => tokensOf(trainer.activationStep(trainer.nextDevBatch()));
    if (every !== undefined) seconds += (await scaled(moveActivation, meanTokens(dev))) / every;
    if (trainer.step >= 2) break;
  }
  return seconds;
};

/** An evaluation, by some rows of the dev set. */
const evaluationSeconds = async ({ backend }: DryRunOptions, trainer: Trainer): Promise<number> => {
  const { dev } = trainer.rows;
  const { microBatch } = trainer;
  const rows = usableRows(dev).slice(0, microBatch);
  const tokens = rows.reduce((sum, row) => sum + (dev.promptTokens[row] ?? 0) + (dev.answerTokens[row] ?? 0), 0);
  const work = async (): Promise<number> => {
    await backend.call("dataLoss", { data: "dev", rows, adapter: trialName, microBatch });
    return tokens;
  };
  return scaled(work, countTokens(dev));
};

const timeOf = async (options: DryRunOptions, trainer: Trainer): Promise<TrainEstimate["time"]> => {
  const step = await stepSeconds(trainer);
  const evaluation = await evaluationSeconds(options, trainer);
  const { totalSteps, settings } = trainer;
  const evaluations = Math.ceil(totalSteps / settings.evalEvery);
  return { step, evaluation, total: step * totalSteps + evaluation * evaluations };
};

const memoryOf = async (
  { backend, graph, spec, vocabSize, session }: DryRunOptions,
  trainer: Trainer,
): Promise<TrainEstimate["memory"]> => {
  await trainer.tryMicroBatch();
  const { train } = trainer.rows;
  const rows = longestRows(train, Math.min(trainer.microBatch, trainer.batchSize));
  const lengthOf = (row: number): number => (train.promptTokens[row] ?? 0) + (train.answerTokens[row] ?? 0);
  const batch = {
    rows: rows.length,
    length: Math.max(...rows.map(lengthOf)),
    answerTokens: rows.reduce((sum, row) => sum + (train.answerTokens[row] ?? 0), 0),
  };
  const { usedBytes: trial } = await backend.call("trialStep", { data: "train", rows: [...rows] });
  const { trainable } = trainer;
  const { gradientCheckpointing, quantization } = spec.train;
  const eager = session.attention === "eager";
  const estimate = estimateMemory({
    graph,
    dtype: session.dtype,
    quantization,
    trainable,
    vocabSize,
    batch,
    gradientCheckpointing,
    eager,
  });
  return { ...estimate, trial };
};

const measured = async (options: DryRunOptions, trainer: Trainer): Promise<TrainEstimate> => {
  const { graph, session } = options;
  const { train, dev } = trainer.rows;
  const { trainable, activated } = trainer.method.count;
  const memory = await memoryOf(options, trainer);
  return {
    method: trainer.method.label,
    model: graph.model,
    device: session.device,
    dtype: session.dtype,
    parameters: { base: graph.numParameters, trainable, activated },
    rows: { train: train.rows, dev: dev.rows, dropped: train.dropped.length, truncated: train.truncated.length },
    steps: trainer.totalSteps,
    batchSize: trainer.batchSize,
    microBatch: Math.min(trainer.microBatch, trainer.batchSize),
    memory,
    checkpoint: checkpointBytes(trainer.trainable),
    time: await timeOf(options, trainer),
  };
};

/** Parameters, memory, steps and time of a run, from arithmetic and a trial of two steps; nothing of it is kept. */
export const dryRun = async (options: DryRunOptions): Promise<TrainEstimate> => {
  const { backend, graph, spec } = options;
  const method = resolveMethod(graph, await methodFromWarmStart(spec.method, spec.train));
  const { format, devSource, ...data } = await loadTrainingData(spec.data, spec.train.seed, options.hub);
  const folder = mkdtempSync(join(tmpdir(), "milora-rows-"));
  try {
    const files = await writeTrainingData({ ...data, format, devSource }, folder);
    const parts = { backend, adapter: trialName, method, settings: spec.train };
    const trainer = await createTrainer({ ...parts, files, format, devSource });
    try {
      return await measured(options, trainer);
    } finally {
      // A failure of its own (Python is gone, say) would hide the error that matters.
      await trainer.close().catch(() => undefined);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
};
