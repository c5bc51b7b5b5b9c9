import type { Backend, BackendEvent } from "../backend/backend.js";
import type { ModelGraph } from "../graph/model-graph.js";
import { methodSchema, type Method } from "../spec/method.js";
import { parseWith } from "../spec/parse.js";

/** What every bench is given beside what it measures. */
export interface BenchCall {
  readonly backend: Backend;
  /** The open model's graph for a method. */
  readonly graphOf: (method: Method) => Promise<ModelGraph>;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((stage: string, done: number, total: number) => void) | undefined;
}

/** A method with its default settings, and those given. */
export const methodWith = (settings: { readonly kind: string; readonly topK?: number }): Method =>
  parseWith(methodSchema, settings, { what: "The method" });

/** How a bench calls the backend: it can be aborted, and it tells how far it is. */
export const callOptions = ({ signal, onProgress }: Pick<BenchCall, "signal" | "onProgress">) => ({
  signal,
  onEvent: (event: BackendEvent): void => {
    if (event.type === "progress") onProgress?.(event.stage, event.done, event.total);
  },
});
