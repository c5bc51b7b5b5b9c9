import type { z } from "zod";
import type { benchOps, tenantBenchRow } from "../backend/bench-ops.js";
import type { BenchCall } from "./bench-call.js";
import { callOptions } from "./bench-call.js";
import { planMethod, type TextSizes } from "./decode.js";

/** One batch of tenants in one engine. */
export type TenantBenchRow = z.output<typeof tenantBenchRow>;

/** The rows, and what could not be measured. */
export type TenantBenchResult = z.output<typeof benchOps.benchTenants.output>;

export interface BenchTenantsOptions extends BenchCall, TextSizes {
  /** Methods of the tenants' adapters that the engine runs. */
  readonly methods: readonly string[];
  /** Active experts of `milora`. */
  readonly topK: number;
  readonly tenants: readonly number[];
  readonly rowsPerTenant: readonly number[];
  /** `none`: without PEFT's LoRAs, which take most of the time and memory. */
  readonly peer: "peft" | "none";
}

/**
 * Measures how fast batches of many tenants are written, each with an adapter of its own, beside the engine's base at
 * the same batch and PEFT's `adapter_names` with as many LoRAs.
 */
export const benchTenants = async (options: BenchTenantsOptions): Promise<TenantBenchResult> => {
  const { backend, graphOf, topK, peer, tenants, rowsPerTenant } = options;
  const { promptTokens, newTokens, rounds, rowSeconds } = options;
  const methods = [];
  for (const kind of options.methods) {
    methods.push(await planMethod(graphOf, { kind, topK: kind === "milora" ? topK : undefined }));
  }
  const loras = peer === "none" ? {} : { peer: (await planMethod(graphOf, { kind: "lora" })).config };
  return backend.call(
    "benchTenants",
    {
      methods,
      ...loras,
      tenants: [...tenants],
      rowsPerTenant: [...rowsPerTenant],
      promptTokens,
      newTokens,
      rounds,
      rowSeconds,
    },
    callOptions(options),
  );
};
