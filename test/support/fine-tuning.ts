import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Backend } from "../../ts/backend/backend.js";
import { resolveGraph } from "../../ts/graph/model-graph.js";
import type { Hub } from "../../ts/data/hub.js";
import type { TrainEvent } from "../../ts/runs/events.js";
import { runSchema, type RunSpec } from "../../ts/spec/run.js";
import { fineTune } from "../../ts/train/fine-tune.js";
import { startRun, type DecideHook, type TrainRun } from "../../ts/train/run-handle.js";
import { llamaDescription } from "./graphs.js";
import { temporaryFolder } from "./temporary-folder.js";

export const smallGraph = resolveGraph(llamaDescription({ layers: 2, hidden: 16, ffn: 32 }));
const session = { device: "cpu", dtype: "float32", versions: {} };

/** A run's spec over 50 rows in a folder of its own, 8 a step. */
export const specWith = async (train: object): Promise<RunSpec> => {
  const file = join(await temporaryFolder(), "rows.jsonl");
  const rows = Array.from({ length: 50 }, (_, row) => JSON.stringify({ prompt: `question ${row}`, answer: " yes" }));
  writeFileSync(file, rows.join("\n"));
  return runSchema.parse({
    model: "test/llama",
    method: { kind: "milora", rank: 2 },
    data: { train: file, dev: { split: 0.2 } },
    train: { batchSize: 8, ...train },
  });
};

/** Starts a run on a backend, as a session does. */
export const startFineTuning = ({
  backend,
  spec,
  out,
  resume = false,
  allow,
  onEvent,
  decide,
  hub,
}: {
  readonly backend: Backend;
  readonly spec: RunSpec;
  readonly out: string;
  readonly resume?: boolean;
  readonly allow?: readonly string[];
  readonly onEvent?: (event: TrainEvent, run: TrainRun) => void;
  readonly decide?: DecideHook;
  readonly hub?: Hub;
}): TrainRun => {
  const work = { backend, graph: smallGraph, spec, out, resume, allow, session, hub };
  const run: TrainRun = startRun((control) => fineTune({ ...work, control }), {
    onEvent: (event) => onEvent?.(event, run),
    decide,
  });
  return run;
};

/** The events that a run's folder holds. */
export const recordOf = (out: string): readonly TrainEvent[] =>
  readFileSync(join(out, "events.jsonl"), "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
