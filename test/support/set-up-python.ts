import { ensureEnvironment } from "../../ts/bridge/environment/index.js";

/** Makes the Python environment before tests that need it; the tests and what they start find it by MILORA_PYTHON. */
export const setup = async (): Promise<void> => {
  const { python } = await ensureEnvironment({
    extras: ["demo", "dev"],
    onProgress: ({ message, elapsedSeconds }) => {
      process.stderr.write(`milora: ${message} (${Math.round(elapsedSeconds)} s)\n`);
    },
  });
  process.env["MILORA_PYTHON"] = python;
};
