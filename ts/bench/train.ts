import type { z } from "zod";
import type { trainBenchRow } from "../backend/bench-ops.js";
import { resolveMethod } from "../methods/registry.js";
import type { MethodKind } from "../spec/method.js";
import { callOptions, methodWith, type BenchCall } from "./bench-call.js";

/** One engine at one length of rows. */
export type TrainBenchRow = z.output<typeof trainBenchRow>;

/** The losses of LoRA in float32, step by step, by our session and by transformers' Trainer. */
export interface LossCurves {
  readonly milora: readonly number[];
  readonly hfTrainer: readonly number[];
  /** The largest difference between the two, nats. */
  readonly maxDifference: number;
}

export interface BenchTrainOptions extends BenchCall {
  readonly methods: readonly string[];
  /** Tokens of a row, each measured by itself. */
  readonly tokens: readonly number[];
  readonly batch: number;
  readonly rounds: number;
  /** Each of our methods also with its layers compiled. */
  readonly compile?: boolean | undefined;
}

/** The step that the peer takes: PEFT's LoRA. */
const peerKind: MethodKind = "lora";

/**
 * Measures training steps of our methods, with their default settings, against transformers' Trainer with PEFT's LoRA
 * of the same rank on the same rows; each step of one stands between steps of the others.
 */
export const benchTrain = async (options: BenchTrainOptions): Promise<readonly TrainBenchRow[]> => {
  const { backend, graphOf, tokens, batch, rounds, compile } = options;
  const resolve = async (kind: string) => {
    const method = methodWith({ kind });
    return resolveMethod(await graphOf(method), method);
  };
  const methods = [];
  for (const kind of options.methods) {
    const resolved = await resolve(kind);
    // One step more than is measured, and two for the memory.
    const { config, scheduled } = resolved.training(Math.max(rounds + 1, minimumSteps));
    methods.push({ method: kind, config: { ...config }, balance: resolved.balance, scheduled });
  }
  const peer = { ...(await resolve(peerKind)).config };
  const rows: TrainBenchRow[] = [];
  for (const length of tokens) {
    const found = await backend.call(
      "benchTrain",
      { methods, peer, tokens: length, batch, rounds, compile },
      callOptions(options),
    );
    rows.push(...found.rows);
  }
  return rows;
};

/** A schedule needs some steps to fit in. */
const minimumSteps = 100;

/** Trains LoRA for so many steps both ways; the model must be open in float32 for the two to be comparable. */
export const lossCurves = async ({
  backend,
  graphOf,
  tokens,
  batch,
  steps,
  signal,
}: Pick<BenchTrainOptions, "backend" | "graphOf" | "batch" | "signal"> & {
  readonly tokens: number;
  readonly steps: number;
}): Promise<LossCurves> => {
  const method = methodWith({ kind: peerKind });
  const { config } = resolveMethod(await graphOf(method), method);
  const { milora, hfTrainer } = await backend.call(
    "trainCurves",
    { config: { ...config }, tokens, batch, steps },
    { signal },
  );
  const differences = milora.map((loss, step) => Math.abs(loss - (hfTrainer[step] ?? Number.NaN)));
  return { milora, hfTrainer, maxDifference: Math.max(...differences) };
};
