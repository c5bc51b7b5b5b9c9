import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { startReporter } from "../../../../ts/bridge/environment/progress.js";

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

it("tells a message again ever more rarely, and a new one at once", () => {
  const told: string[] = [];
  const reporter = startReporter("packages", ({ message, elapsedSeconds }) =>
    told.push(`${message} ${Math.round(elapsedSeconds)}`),
  );
  reporter.report("downloading");
  vi.advanceTimersByTime(34_000);
  reporter.report("downloading");
  expect(told).toEqual(["downloading 0", "downloading 5", "downloading 15"]);
  reporter.report("unpacking");
  vi.advanceTimersByTime(240_000);
  expect(told.slice(3)).toEqual(["unpacking 34", ...[39, 49, 69, 109, 169, 229].map((at) => `unpacking ${at}`)]);
  reporter.stop();
  vi.advanceTimersByTime(600_000);
  expect(told).toHaveLength(10);
});
