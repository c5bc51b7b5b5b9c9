import { benchDecode, type BenchDecodeOptions, type DecodeBenchResult } from "../bench/decode.js";
import { benchTenants, type BenchTenantsOptions, type TenantBenchResult } from "../bench/tenants.js";
import {
  benchTrain,
  lossCurves,
  type BenchTrainOptions,
  type LossCurves,
  type TrainBenchRow,
} from "../bench/train.js";
import type { ModelSession } from "./session.js";

export type { DecodeBenchRow } from "../bench/decode.js";
export type { TenantBenchRow } from "../bench/tenants.js";

/** What `bench train` measures. */
export type TrainBenchOptions = Omit<BenchTrainOptions, "backend" | "graphOf">;

/** What `bench decode` measures. */
export type DecodeBenchOptions = Omit<BenchDecodeOptions, "backend" | "graphOf">;

/** What `bench tenants` measures. */
export type TenantBenchOptions = Omit<BenchTenantsOptions, "backend" | "graphOf">;

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

/** See {@link benchDecode}. */
export const benchDecodeOn = async (session: ModelSession, options: DecodeBenchOptions): Promise<DecodeBenchResult> =>
  benchDecode({ ...options, ...(await opened(session)) });

/** See {@link benchTenants}. */
export const benchTenantsOn = async (session: ModelSession, options: TenantBenchOptions): Promise<TenantBenchResult> =>
  benchTenants({ ...options, ...(await opened(session)) });

/** See {@link lossCurves}. */
export const lossCurvesOn = async (session: ModelSession, options: LossCurveOptions): Promise<LossCurves> =>
  lossCurves({ ...options, ...(await opened(session)) });
