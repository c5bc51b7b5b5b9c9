/** Shape of the learning rate over a run. */
export interface Schedule {
  readonly peak: number;
  readonly totalSteps: number;
  /** Share of the steps in which the rate rises. */
  readonly warmup: number;
}

/** Factor on the peak rate at a step (0-based): linear rise over the warm-up, then linear decay to 0 at the end. */
export const scheduleFactor = (step: number, { totalSteps, warmup }: Omit<Schedule, "peak">): number => {
  const warmupSteps = Math.round(totalSteps * warmup);
  if (step < warmupSteps) return (step + 1) / warmupSteps;
  const decaySteps = totalSteps - warmupSteps;
  return decaySteps <= 0 ? 1 : Math.max(0, (totalSteps - step) / decaySteps);
};

/** The learning rate of a step (0-based). */
export const learningRateAt = (step: number, schedule: Schedule): number =>
  schedule.peak * scheduleFactor(step, schedule);
