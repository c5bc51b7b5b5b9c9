import { afterEach, beforeEach, vi } from "vitest";

const methods = ["debug", "error", "info", "log", "warn"] as const;

/** Output in a unit test is a fault: the code under test talks through its results, or not at all. */
beforeEach(() => {
  for (const method of methods) vi.spyOn(console, method).mockImplementation(() => undefined);
});

afterEach(() => {
  const said = methods.flatMap((method) =>
    vi.mocked(console[method]).mock.calls.map((parts) => `${method}: ${parts.join(" ")}`),
  );
  vi.restoreAllMocks();
  if (said.length > 0) throw new Error(`a unit test wrote to the console:\n${said.join("\n")}`);
});
