import type { Backend, OpInput } from "../backend/backend.js";
import type { ResolvedMethod } from "../methods/registry.js";
import type { TrainSettings } from "../spec/train.js";
import { warmStartFolder } from "./warm-start.js";

/** An adapter's plan, as the Python side takes it. */
export type PlanConfig = OpInput<"attachAdapter">["config"];

/** What an adapter in training is made of. */
export interface AdapterToTrain {
  readonly backend: Backend;
  readonly adapter: string;
  readonly method: ResolvedMethod;
  readonly settings: TrainSettings;
}

/**
 * Attaches a new adapter by its plan and opens fresh optimisers on it.
 * @param options.warmStart The adapter of `train.warmStart` gives the first weights.
 * @param options.microBatch Rows computed at once.
 * @returns how many parameters train.
 */
export const openTraining = async (
  { backend, adapter, method, settings }: AdapterToTrain,
  {
    config,
    warmStart,
    microBatch,
  }: { readonly config: PlanConfig; readonly warmStart: boolean; readonly microBatch: number },
): Promise<number> => {
  const { seed, weightDecay, weightDecayOn, loraPlusRatio, maxGradientNorm, gradientCheckpointing, compile, trains } =
    settings;
  const { trainable } = await backend.call("attachAdapter", {
    adapter,
    config: { ...config, inference_mode: false },
    seed,
    warmStart: (warmStart ? warmStartFolder(settings) : undefined) ?? null,
    trains,
  });
  const { balance } = method;
  try {
    await backend.call("startTraining", {
      adapter,
      microBatch,
      weightDecay,
      weightDecayOn,
      loraPlusRatio,
      maxGradientNorm,
      gradientCheckpointing,
      compile,
      balance,
      seed,
    });
  } catch (error) {
    await backend.call("unloadAdapter", { adapter }).catch(() => undefined);
    throw error;
  }
  return trainable;
};
