import {
  benchTrain,
  lossCurves,
  type BenchTrainOptions,
  type LossCurves,
  type TrainBenchRow,
} from "../bench/train.js";
import type { ModelSession } from "./session.js";

/** What `bench train` measures. */
export type TrainBenchOptions = Omit<BenchTrainOptions, "backend" | "graphOf">;

export interface LossCurveOptions {
  readonly tokens: number;
  readonly batch: number;
  readonly steps: number;
  readonly signal?: AbortSignal | undefined;
}

const opened = async (session: ModelSession) => {
  await session.opened();
  return { backend: await session.backend(), graphOf: session.graph };
};

/** See {@link benchTrain}. */
export const benchTrainOn = async (
  session: ModelSession,
  options: TrainBenchOptions,
): Promise<readonly TrainBenchRow[]> => benchTrain({ ...options, ...(await opened(session)) });

/** See {@link lossCurves}. */
export const lossCurvesOn = async (session: ModelSession, options: LossCurveOptions): Promise<LossCurves> =>
  lossCurves({ ...options, ...(await opened(session)) });
