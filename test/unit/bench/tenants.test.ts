import { expect, test } from "vitest";
import { benchTenants, type BenchTenantsOptions } from "../../../ts/bench/tenants.js";
import { resolveGraph } from "../../../ts/graph/model-graph.js";
import { createFakeBackend } from "../../support/fake-backend.js";
import { llamaDescription } from "../../support/graphs.js";

const graphOf = () => Promise.resolve(resolveGraph(llamaDescription({ layers: 2, hidden: 64, ffn: 96 })));

const measure = async (changes: Partial<BenchTenantsOptions>) => {
  const backend = createFakeBackend({ benchTenants: () => ({ rows: [], skipped: [], slowBecause: null }) });
  const sizes = { promptTokens: 8, newTokens: 4, rounds: 2, rowSeconds: 60 };
  const batches = { tenants: [1, 8], rowsPerTenant: [1, 4] };
  await benchTenants({
    methods: ["milora"],
    topK: 3,
    peer: "peft",
    ...batches,
    ...sizes,
    ...changes,
    backend,
    graphOf,
  });
  return backend.calls[0]?.input;
};

test("tenants of a method stand beside as many LoRAs of PEFT's", async () => {
  expect(await measure({ methods: ["milora", "midora"], topK: 2 })).toMatchObject({
    methods: [
      { method: "milora", topK: 2, config: { peft_type: "MILORA_PROMPT", top_k: 2 } },
      { method: "midora", topK: 3, config: { expert: "dora" } },
    ],
    peer: { peft_type: "LORA", r: 32 },
    tenants: [1, 8],
    rowsPerTenant: [1, 4],
  });
});

test("without a peer no plan of LoRA goes along", async () => {
  expect(await measure({ peer: "none" })).not.toHaveProperty("peer");
});
