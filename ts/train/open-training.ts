import { resolve } from "node:path";
import type { Backend, OpInput } from "../backend/backend.js";
import type { ResolvedMethod } from "../methods/registry.js";
import type { TrainSettings } from "../spec/train.js";

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
 * @returns how many parameters train.
 */
export const openTraining = async (
  { backend, adapter, method, settings }: AdapterToTrain,
  { config, warmStart }: { readonly config: PlanConfig; readonly warmStart: boolean },
): Promise<number> => {
  const { seed, microBatch, weightDecay, maxGradientNorm, trains } = settings;
  const { trainable } = await backend.call("attachAdapter", {
    adapter,
    config: { ...config, inference_mode: false },
    seed,
    warmStart: warmStart && settings.warmStart !== undefined ? resolve(settings.warmStart) : null,
    trains,
  });
  const { balance } = method;
  try {
    await backend.call("startTraining", { adapter, microBatch, weightDecay, maxGradientNorm, balance, seed });
  } catch (error) {
    await backend.call("unloadAdapter", { adapter }).catch(() => undefined);
    throw error;
  }
  return trainable;
};
