import { afterEach, expect, test, vi } from "vitest";
import { childEnvironment } from "../../../ts/bridge/child-environment.js";
import { normaliseOptions } from "../../../ts/bridge/options.js";

const waits = (env: Readonly<Record<string, string>> = {}) => {
  const found = childEnvironment(normaliseOptions({ python: "python3", env }));
  return [found["OMP_WAIT_POLICY"], found["GOMP_SPINCOUNT"]];
};

afterEach(() => void vi.unstubAllEnvs());

test("threads spin shortly and then sleep, unless the user says how they wait", () => {
  vi.stubEnv("OMP_WAIT_POLICY", undefined);
  vi.stubEnv("GOMP_SPINCOUNT", undefined);
  expect(waits()).toEqual(["PASSIVE", "3000"]);
  expect(waits({ GOMP_SPINCOUNT: "0" })).toEqual(["PASSIVE", "0"]);
  // A number of spins would overrule the policy.
  expect(waits({ OMP_WAIT_POLICY: "ACTIVE" })).toEqual(["ACTIVE", undefined]);
  vi.stubEnv("OMP_WAIT_POLICY", "ACTIVE");
  expect(waits()).toEqual(["ACTIVE", undefined]);
});
