import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { resolveMethod } from "../methods/registry.js";
import type { TrainEvent } from "../runs/events.js";
import { newRunName } from "../runs/run-name.js";
import { parseWith } from "../spec/parse.js";
import { withMethodPreset } from "../spec/presets.js";
import { runSchema, type RunSpec } from "../spec/run.js";
import { createTrainer } from "../train/create-trainer.js";
import { dryRun, type TrainEstimate } from "../train/dry-run.js";
import { fineTune } from "../train/fine-tune.js";
import { startRun, type TrainRun } from "../train/run-handle.js";
import type { Trainer } from "../train/trainer.js";
import { loadTrainingData, writeTrainingData } from "../train/training-data.js";
import { methodFromWarmStart } from "../train/warm-start.js";
import type { TrainOptions } from "./call-options.js";
import { sessionRunSchema, type OpenOptions, type TrainInput } from "./options.js";
import { withRowFile } from "./row-file.js";
import type { ModelSession } from "./session.js";
import { trainProgress } from "./train-progress.js";

/** An open model and the settings that it was opened with. */
interface OpenedModel {
  readonly session: ModelSession;
  readonly settings: OpenOptions;
}

/** A run's whole spec: what is asked, on the session's model and as the session holds it. */
const runSpec = async ({ session, settings }: OpenedModel, input: TrainInput): Promise<RunSpec> => {
  const spec = withMethodPreset(await withRowFile(session, input));
  const { method, data, train } = parseWith(sessionRunSchema, spec, { what: "The spec" });
  const { model, device, dtype, attention, quantization, scale } = settings;
  return parseWith(
    runSchema,
    { model, method, data, train: { ...train, device, dtype, attention, quantization }, scale },
    { what: "The spec" },
  );
};

/** See `Milora.train`. */
export const trainOn = (opened: OpenedModel, spec: TrainInput, options: TrainOptions): TrainRun => {
  const { session } = opened;
  const draw = (options.progress ?? process.stderr.isTTY === true) ? trainProgress(process.stderr) : undefined;
  const onEvent = (event: TrainEvent): void => {
    draw?.(event);
    options.onEvent?.(event);
  };
  return startRun(
    async (control) => {
      const resolved = await runSpec(opened, spec);
      const graph = await session.graph(resolved.method);
      const { device, dtype } = await session.opened();
      const place = { device, dtype, versions: await session.versions() };
      const out = resolve(options.out ?? join("runs", newRunName()));
      const backend = await session.backend();
      const { resume = false } = options;
      // The rows of a Python object go to a new file each time; that they are the same is looked at anyway.
      const allow = "python" in spec.data ? [...(options.allow ?? []), "data.train"] : options.allow;
      const hub = session.hub(control.stopping);
      return fineTune({ backend, graph, spec: resolved, out, resume, allow, control, session: place, hub });
    },
    { signal: options.signal, onEvent, decide: options.decide },
  );
};

/** See `Milora.trainer`. */
export const trainerOn = async (opened: OpenedModel, spec: TrainInput): Promise<Trainer> => {
  const { session } = opened;
  const { method, data, train } = await runSpec(opened, spec);
  const started = await methodFromWarmStart(method, train);
  const resolved = resolveMethod(await session.graph(started), started);
  const rows = await loadTrainingData(data, train.seed, session.hub());
  const files = await writeTrainingData(rows, await mkdtemp(join(tmpdir(), "milora-rows-")));
  await session.opened();
  const backend = await session.backend();
  const { format, devSource } = rows;
  return createTrainer({ backend, adapter: "trained", method: resolved, settings: train, files, format, devSource });
};

/** See `Milora.estimate`. */
export const estimateOn = async (opened: OpenedModel, spec: TrainInput): Promise<TrainEstimate> => {
  const { session } = opened;
  const resolved = await runSpec(opened, spec);
  const graph = await session.graph(resolved.method);
  const [place, { vocabSize }] = [await session.opened(), await session.described()];
  const [backend, hub] = [await session.backend(), session.hub()];
  return dryRun({ backend, graph, spec: resolved, vocabSize, session: place, hub });
};
