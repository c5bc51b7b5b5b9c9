import { describe, expect, it } from "vitest";
import { learningRateAt, scheduleFactor } from "../../../ts/train/schedule.js";

describe("learning rate", () => {
  const schedule = { peak: 1e-4, totalSteps: 100, warmup: 0.06 };

  it("rises linearly over the warm-up and peaks at its last step", () => {
    expect(learningRateAt(0, schedule)).toBeCloseTo(1e-4 / 6, 12);
    expect(learningRateAt(5, schedule)).toBeCloseTo(1e-4, 12);
  });

  it("decays linearly to nothing after the last step", () => {
    expect(learningRateAt(6, schedule)).toBeCloseTo(1e-4, 12);
    expect(learningRateAt(53, schedule)).toBeCloseTo(0.5e-4, 12);
    expect(learningRateAt(99, schedule)).toBeCloseTo(1e-4 / 94, 12);
    expect(learningRateAt(100, schedule)).toBe(0);
  });

  it("never divides by nothing", () => {
    expect(scheduleFactor(0, { totalSteps: 1, warmup: 0 })).toBe(1);
    expect(scheduleFactor(3, { totalSteps: 4, warmup: 1 })).toBe(1);
  });
});
