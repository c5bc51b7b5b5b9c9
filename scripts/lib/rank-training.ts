/** A training of MiLoRA whose steps are timed, in the Python process itself or on ranks of Ray. */
import { openBackend, type PythonBackend } from "../../ts/bridge/index.js";
import { resolveGraph } from "../../ts/graph/model-graph.js";
import { resolveMethod } from "../../ts/methods/registry.js";
import { methodSchema } from "../../ts/spec/method.js";
import type { ScaleSettings } from "../../ts/spec/scale.js";

/** What is trained, and where. */
export interface TimedTraining {
  readonly python: string;
  readonly model: string;
  /** JSONL with the rows of all steps. */
  readonly rowsFile: string;
  /** null = in the process itself. */
  readonly scale: ScaleSettings | null;
  readonly microBatch?: number;
}

/** Opens the model and begins. */
export const beginTraining = async ({ python, model, rowsFile, scale, microBatch = 16 }: TimedTraining) => {
  const backend = await openBackend({ python });
  await backend.call("openModel", { model, device: "cpu", dtype: "float32", scale });
  await backend.call("loadRows", { name: "train", file: rowsFile });
  const graph = resolveGraph(await backend.call("describeModel", { model }));
  const { config, count } = resolveMethod(graph, methodSchema.parse({ kind: "milora" }));
  await backend.call("attachAdapter", { adapter: "timed", config });
  await backend.call("startTraining", { adapter: "timed", microBatch });
  return { backend, trainable: count.trainable };
};

/** Milliseconds of one weight step over rows. */
export const timeStep = async (backend: PythonBackend, rows: number[]): Promise<number> => {
  const start = performance.now();
  await backend.call("weightsStep", { data: "train", rows, learningRate: 1e-4 });
  return performance.now() - start;
};
