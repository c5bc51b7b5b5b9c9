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

/**
 * Looks whether a checkpoint is one of a phase.
 * @throws MiloraError `run/not-resumable` for one of another phase, or outside of what is now the phase's steps.
 */
export const checkInPhase = (
  { index, name, start, steps }: TrainerPhase,
  state: { readonly phase: number; readonly step: number },
  folder: string,
): void => {
  if (state.phase !== index)
    throw new MiloraError(
      "run/not-resumable",
      `The checkpoint is of phase ${state.phase + 1}, but the training is in phase ${index + 1}.`,
      { file: folder, found: String(state.phase + 1), allowed: String(index + 1) },
    );
  if (state.step < start || state.step > start + steps)
    throw new MiloraError(
      "run/not-resumable",
      `The checkpoint is of step ${state.step}, but the phase ${name} now goes from step ${start} to ${start + steps}.`,
      { file: folder, found: String(state.step), allowed: `${start} to ${start + steps}` },
    );
};
