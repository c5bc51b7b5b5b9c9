import { MiloraError } from "../errors.js";
import type { Phase } from "../methods/phase.js";

/** A phase of a training, and its place in the whole. */
export interface TrainerPhase extends Phase {
  /** Its place, from 0. */
  readonly index: number;
  /** Phases that the training has. */
  readonly of: number;
  /** Steps of the phases before it. */
  readonly start: number;
}

/**
 * The phases of a training with their places.
 * @throws MiloraError `input/invalid-spec` where a phase has no step.
 */
export const placedPhases = (phases: readonly Phase[]): readonly TrainerPhase[] => {
  let start = 0;
  return phases.map((phase, index) => {
    if (phase.steps < 1)
      throw new MiloraError("input/invalid-spec", `The training is too short: its phase ${phase.name} has no step.`, {
        path: "train.maxSteps",
        hint: "Raise train.maxSteps or train.epochs.",
      });
    const placed = { ...phase, index, of: phases.length, start };
    start += phase.steps;
    return placed;
  });
};

/**
 * A phase by its place.
 * @throws MiloraError `run/not-resumable` where a checkpoint names one that the training does not have.
 */
export const phaseAt = (phases: readonly TrainerPhase[], index: number): TrainerPhase => {
  const phase = phases[index];
  if (phase !== undefined) return phase;
  throw new MiloraError(
    "run/not-resumable",
    `The checkpoint is of phase ${index + 1}; this training has ${phases.length}.`,
    { found: String(index + 1), allowed: `1 to ${phases.length}` },
  );
};
