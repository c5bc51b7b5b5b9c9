import type { OpOutput } from "../backend/backend.js";
import { openBackend, type PythonBackend } from "../bridge/index.js";
import { ensureEnvironment, type OnProgress } from "../bridge/environment/index.js";
import type { Hub } from "../data/hub.js";
import { resolveGraph, type ModelGraph } from "../graph/model-graph.js";
import type { Method } from "../spec/method.js";
import { cellHooks } from "./cell-hooks.js";
import { createHub, type FetchProgress } from "./hub.js";
import type { OpenOptions } from "./options.js";
import { packageVersion } from "./package-version.js";

/** What a caller may pass beside the model's settings. */
export interface SessionHooks {
  /** Told while the Python environment is made, on first use; by default a notebook's cell shows it. */
  readonly onProgress?: OnProgress | undefined;
  /** Told while rows are fetched from the hub. */
  readonly onFetch?: ((progress: FetchProgress) => void) | undefined;
  /** Python's own output and log lines; by default a notebook's cell shows them, elsewhere they are dropped. */
  readonly onLog?: ((line: { readonly level: string; readonly text: string }) => void) | undefined;
}

/** The model that comes with the Python extra `demo`. */
const demoModel = "smollm2-135m";

const once = <Value>(make: () => Promise<Value>): (() => Promise<Value>) => {
  let made: Promise<Value> | undefined;
  return () => {
    made ??= make().catch((error: unknown) => {
      made = undefined;
      throw error;
    });
    return made;
  };
};

/** Where and how a model runs; `reason`: why device and dtype were taken, a sentence. */
export interface Placement {
  /** Such as `cpu` or `cuda:0`. */
  readonly device: string;
  /** What the model is held in. */
  readonly dtype: string;
  /** `eager` or `sdpa`. */
  readonly attention: string;
  /** Why, in a sentence. */
  readonly reason: string;
}

/** One Python with at most one model in it; each part is opened when it is first needed. */
export interface ModelSession {
  readonly backend: () => Promise<PythonBackend>;
  /** The model's description, from its config alone. */
  readonly described: () => Promise<OpOutput<"describeModel">>;
  readonly opened: () => Promise<OpOutput<"openModel">>;
  /** The model's graph for a method; names come from the method where the roles don't fit. */
  readonly graph: (method: Method) => Promise<ModelGraph>;
  readonly versions: () => Promise<Readonly<Record<string, string>>>;
  /** The hub, for rows that no local file holds. */
  readonly hub: (signal?: AbortSignal) => Hub;
  readonly close: () => Promise<void>;
}

export const createModelSession = (options: OpenOptions, callersHooks: SessionHooks): ModelSession => {
  const hooks = { ...cellHooks(), ...callersHooks };
  let running: PythonBackend | undefined;
  const backend = once(async () => {
    const extras = options.model === demoModel ? (["demo"] as const) : [];
    const environment = await ensureEnvironment({ extras, onProgress: hooks.onProgress });
    running = await openBackend({ python: environment.python, onLog: hooks.onLog });
    return running;
  });
  const described = once(async () => (await backend()).call("describeModel", { model: options.model }));
  const opened = once(async () => {
    const { model, device, dtype, attention, quantization, seed, scale = null } = options;
    return (await backend()).call("openModel", { model, device, dtype, attention, quantization, seed, scale });
  });
  const versions = once(async () => {
    const { python, torch, transformers, peft } = await (await backend()).call("hello", {});
    return { milora: packageVersion(), python, torch, transformers, peft, node: process.versions.node };
  });
  return {
    backend,
    described,
    opened,
    graph: async (method) => resolveGraph(await described(), method.moduleNames),
    versions,
    hub: (signal) => createHub(backend, { signal, onFetch: hooks.onFetch }),
    close: async () => {
      // Ray and its processes end in order, which takes longer than Python has to end by itself.
      if (options.scale !== undefined) await running?.call("closeModel", {}).catch(() => undefined);
      await running?.close();
    },
  };
};
