/** What of a search is trained on D_val, and when its candidates are thinned out. */
export interface Search {
  /** Constant learning rate of what decides (architecture weights, structural parameters). */
  readonly learningRate: number;
  /** Steps between two prunings, each of which drops the weakest candidate of each place; null = none before the end. */
  readonly pruneEvery: number | null;
}

/**
 * One stretch of a training. A `search` trains candidates on D_train and what decides between them on D_val, in turns;
 * its end is discretised, and the kept candidates start anew in the `train` phase.
 */
export interface Phase {
  /** A search, or the training of what is kept. */
  readonly name: "search" | "train";
  /** Weight steps of the phase. */
  readonly steps: number;
  /** What the search does; null in training. */
  readonly search: Search | null;
}

/** How a training of a number of steps runs. */
export interface TrainingPlan<Config> {
  /** In order; their steps add up to the training's. */
  readonly phases: readonly Phase[];
  /** The step from which on an adapter may count as the best: before it the method has not reached its budget. */
  readonly bestFrom: number;
  /** The method asks for the step number of its own schedule at each weight step. */
  readonly scheduled: boolean;
  /** The plan with what depends on the number of steps. */
  readonly config: Config;
}

/**
 * A search over a share of the steps, at least one and not all of them, and the training of what it found.
 * @param options.search What the search does, by its number of steps.
 */
export const searchThenTrain = <Config>({
  config,
  totalSteps,
  share,
  search,
}: {
  readonly config: Config;
  readonly totalSteps: number;
  readonly share: number;
  readonly search: (steps: number) => Search;
}): TrainingPlan<Config> => {
  const steps = Math.max(1, Math.min(totalSteps - 1, Math.round(totalSteps * share)));
  const phases: readonly Phase[] = [
    { name: "search", steps, search: search(steps) },
    { name: "train", steps: totalSteps - steps, search: null },
  ];
  return { phases, bestFrom: steps, scheduled: false, config };
};

/** One phase, any adapter may be the best: what most methods need. */
export const plainTraining = <Config>(config: Config, totalSteps: number): TrainingPlan<Config> => ({
  phases: [{ name: "train", steps: totalSteps, search: null }],
  bestFrom: 0,
  scheduled: false,
  config,
});
