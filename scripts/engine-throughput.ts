/**
 * Requests of many tenants that arrive at random and share the engine's batch, against the same requests one after
 * another: tokens a second of both, in turns in one process, and when the first tokens were there. The tenants' adapters
 * are untrained (their outputs add nothing, and cost what trained ones cost); both ways must write the same texts, which
 * float32 alone promises.
 *
 * `tsx scripts/engine-throughput.ts [--requests 64] [--tenants 16] [--tokens 64] [--window 4] [--rounds 3]`
 * `[--model smollm2-135m] [--method milora] [--dtype float32] [--device cpu]`
 *
 * `--tokens`: the most that a text has; `--window`: seconds in which the requests arrive. Threads are torch's, by
 * OMP_NUM_THREADS. MILORA_PYTHON names the Python. The processor's time is told on Linux alone.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { z } from "zod";
import { ensureEnvironment } from "../ts/bridge/environment/index.js";
import { openBackend } from "../ts/bridge/index.js";
import { openTextEngine } from "../ts/generate/text-engine.js";
import { resolveGraph } from "../ts/graph/model-graph.js";
import { resolveMethod } from "../ts/methods/registry.js";
import { methodSchema } from "../ts/spec/method.js";
import { median } from "../ts/util/statistics.js";
import { describeRun, madeUpRequests, oneByOne, sharedBatch, tellRatio, type Written } from "./lib/engine-load.js";

const { values } = parseArgs({
  options: {
    requests: { type: "string", default: "64" },
    tenants: { type: "string", default: "16" },
    tokens: { type: "string", default: "64" },
    window: { type: "string", default: "4" },
    rounds: { type: "string", default: "3" },
    model: { type: "string", default: "smollm2-135m" },
    method: { type: "string", default: "milora" },
    dtype: { type: "string", default: "float32" },
    device: { type: "string", default: "cpu" },
  },
});

const dtypeSchema = z.enum(["auto", "float32", "bfloat16", "float16"]);
const tenants = Array.from({ length: Number(values.tenants) }, (_, index) => `tenant-${index}`);
const requests = madeUpRequests({
  count: Number(values.requests),
  tenants,
  maxNewTokens: Number(values.tokens),
  window: Number(values.window),
});
const say = (line: string): void => void process.stdout.write(`${line}\n`);

const { python } = await ensureEnvironment({ extras: ["demo"] });
const folder = mkdtempSync(join(tmpdir(), "milora-throughput-"));
const backend = await openBackend({ python });
try {
  const { pid } = await backend.call("hello", {});
  const graph = resolveGraph(await backend.call("describeModel", { model: values.model }));
  const { config } = resolveMethod(graph, methodSchema.parse({ kind: values.method }));
  await backend.call("openModel", {
    model: values.model,
    device: values.device,
    dtype: dtypeSchema.parse(values.dtype),
  });
  const engine = await openTextEngine(backend, { maxRows: requests.length });
  for (const [seed, adapter] of tenants.entries()) {
    const saved = join(folder, adapter);
    await backend.call("attachAdapter", { adapter, config: { ...config }, seed });
    await backend.call("saveAdapter", { adapter, folder: saved });
    await backend.call("unloadAdapter", { adapter });
    await engine.load(adapter, saved);
    rmSync(saved, { recursive: true });
  }
  say(`${requests.length} requests of ${tenants.length} tenants (${values.method}), ${values.model}, ${values.dtype}`);
  await oneByOne({ engine, pid, requests: requests.slice(0, 1) });
  const ratios: number[] = [];
  for (let round = 0; round < Number(values.rounds); round += 1) {
    const ways = round % 2 === 0 ? [sharedBatch, oneByOne] : [oneByOne, sharedBatch];
    const found = new Map<unknown, Written>();
    for (const way of ways) found.set(way, await way({ engine, pid, requests }));
    const [shared, single] = [found.get(sharedBatch), found.get(oneByOne)];
    if (shared === undefined || single === undefined) continue;
    for (const written of [shared, single]) describeRun(written).forEach(say);
    say(tellRatio(shared, single));
    ratios.push(single.seconds / shared.seconds);
  }
  say(`median ratio of throughput ${median(ratios).toFixed(2)}`);
  await engine.close();
} finally {
  await backend.close();
  rmSync(folder, { recursive: true, force: true });
}
