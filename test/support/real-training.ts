import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "../../ts/bridge/environment/index.js";
import { openBackend, type PythonBackend } from "../../ts/bridge/index.js";
import { resolveGraph } from "../../ts/graph/model-graph.js";
import { runSchema, type RunSpec } from "../../ts/spec/run.js";
import { fineTune } from "../../ts/train/fine-tune.js";
import { startRun, type DecideHook, type TrainRun } from "../../ts/train/run-handle.js";
import { temporaryFolder } from "./temporary-folder.js";

/** Python with a model in float32, and with the operations of a test module beside the built-in ones. */
export const openModelBackend = async (model: string, opModule: string): Promise<PythonBackend> => {
  const pythonPath = [join(packageRoot, "test", "fixtures", "python")];
  const backend = await openBackend({
    python: process.env["MILORA_PYTHON"] ?? "",
    pythonPath,
    opModules: [opModule],
  });
  await backend.call("openModel", { model, device: "cpu", dtype: "float32" });
  return backend;
};

/** A run's spec over rows of these prompts, in a folder of its own. */
export const specOf = async (
  model: string,
  {
    method = { kind: "milora", rank: 4 },
    train = {},
    prompts,
  }: {
    readonly method?: object;
    readonly train?: object;
    readonly prompts: readonly string[];
  },
): Promise<RunSpec> => {
  const file = join(await temporaryFolder(), "rows.jsonl");
  const rows = prompts.map((prompt, index) => JSON.stringify({ prompt, answer: ` ${index + 1}` }));
  writeFileSync(file, rows.join("\n"));
  const rates = { learningRate: 1e-3, activationLearningRate: 1e-4 };
  return runSchema.parse({
    model,
    method,
    data: { train: file },
    train: { batchSize: 4, dtype: "float32", device: "cpu", ...rates, ...train },
  });
};

/** Prompts of different lengths. */
export const plainPrompts = (count: number): readonly string[] =>
  Array.from({ length: count }, (_, index) => `what follows ${index} ${"so ".repeat(index % 7)}`);

/** Starts a run as a session does, on a backend with its model open. */
export const startRealRun = async ({
  backend,
  spec,
  out,
  resume = false,
  decide,
}: {
  readonly backend: PythonBackend;
  readonly spec: RunSpec;
  readonly out: string;
  readonly resume?: boolean;
  readonly decide?: DecideHook | undefined;
}): Promise<TrainRun> => {
  const graph = resolveGraph(await backend.call("describeModel", { model: spec.model }), undefined);
  const session = { device: "cpu", dtype: "float32", versions: {} };
  return startRun((control) => fineTune({ backend, graph, spec, out, resume, control, session }), { decide });
};
