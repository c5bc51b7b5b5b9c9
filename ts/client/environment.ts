import { ensureEnvironment, inspectEnvironment, type EnvironmentProgress } from "../bridge/environment/index.js";
import { createModelSession } from "./session.js";

export { inspectEnvironment, ensureEnvironment };

/** One line for people on what the making of the environment does. */
export const describeSetupProgress = ({ stage, message, elapsedSeconds }: EnvironmentProgress): string =>
  `Python environment, ${stage}: ${message}${elapsedSeconds >= 1 ? ` (${Math.round(elapsedSeconds)} s)` : ""}`;

/** The versions that the Python in use has, and its devices; starts Python. */
export const inspectBackend = async () => {
  const session = createModelSession(
    { model: "none", device: "auto", dtype: "auto", attention: "auto", quantization: "none", seed: 0 },
    {},
  );
  try {
    return await (await session.backend()).call("hello", {});
  } finally {
    await session.close();
  }
};
