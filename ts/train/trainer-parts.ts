import type { TrainingPlan } from "../methods/phase.js";
import type { MicroBatch } from "./micro-batch.js";
import type { AdapterToTrain, PlanConfig } from "./open-training.js";
import type { TrainerPhase } from "./phases.js";
import type { TrainingLength, TrainingRows } from "./training-rows.js";

/** Everything that a trainer needs; made by `createTrainer`. */
export interface TrainerParts extends AdapterToTrain {
  readonly rows: TrainingRows;
  readonly length: TrainingLength;
  readonly plan: TrainingPlan<PlanConfig>;
  readonly phases: readonly TrainerPhase[];
  readonly microBatch: MicroBatch;
  readonly opened: OpenedPhase;
}

/** A phase whose adapter is attached: its plan, and how many parameters train. */
export interface OpenedPhase {
  readonly phase: TrainerPhase;
  readonly config: PlanConfig;
  readonly trainable: number;
}
