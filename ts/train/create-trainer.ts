import { MicroBatch } from "./micro-batch.js";
import { openTraining, type AdapterToTrain, type PlanConfig } from "./open-training.js";
import { phaseAt, placedPhases } from "./phases.js";
import { Trainer } from "./trainer.js";
import { trainingLength } from "./training-rows.js";

/** Loads the rows, attaches the method's adapter and opens the optimisers. */
export const createTrainer = async ({
  files,
  format,
  devSource,
  at,
  ...parts
}: AdapterToTrain & {
  readonly files: { readonly train: string; readonly dev: string };
  readonly format: "plain" | "chat";
  readonly devSource: string;
  /** The phase that a resumed run is in, and its adapter's plan; by default the first. */
  readonly at?: { readonly phase: number; readonly config: PlanConfig } | undefined;
}): Promise<Trainer> => {
  const { backend, method, settings } = parts;
  const { maxLength } = settings;
  const train = await backend.call("loadRows", { name: "train", file: files.train, format, maxLength });
  const dev = await backend.call("loadRows", { name: "dev", file: files.dev, format, maxLength });
  const rows = { train, dev, devSource };
  // Looks at the rows first: with none that can be used, nothing is attached.
  const length = trainingLength(rows, settings);
  const plan = method.training(length.totalSteps);
  const phases = placedPhases(plan.phases);
  const phase = phaseAt(phases, at?.phase ?? 0);
  const config: PlanConfig = at?.config ?? plan.config;
  const microBatch = new MicroBatch(backend, settings.microBatch, length.batchSize);
  const opening = { config, warmStart: phase.index === 0, microBatch: microBatch.rows };
  const trainable = await openTraining(parts, opening);
  return new Trainer({ ...parts, rows, length, plan, phases, microBatch, opened: { phase, config, trainable } });
};
