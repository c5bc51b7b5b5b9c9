import { delimiter } from "node:path";
import type { FullSessionOptions } from "./options.js";
import { pythonPackageFolder } from "./package-folder.js";

/** Progress bars, advice and telemetry that nobody asked for; a value that the user has set was asked for. */
const quiet = {
  HF_HUB_DISABLE_PROGRESS_BARS: "1",
  HF_HUB_DISABLE_TELEMETRY: "1",
  TRANSFORMERS_VERBOSITY: "error",
  TRANSFORMERS_NO_ADVISORY_WARNINGS: "1",
  TOKENIZERS_PARALLELISM: "false",
  TQDM_DISABLE: "1",
} as const;

/** The environment variables of a session's Python: this process's own, those of the bridge, then the user's. */
export const childEnvironment = (options: FullSessionOptions): Readonly<Record<string, string | undefined>> => {
  const inherited = process.env["PYTHONPATH"];
  const folders = [pythonPackageFolder, ...options.pythonPath, ...(inherited ? [inherited] : [])];
  const environment: Record<string, string | undefined> = {
    ...quiet,
    ...process.env,
    PYTHONUNBUFFERED: "1",
    PYTHONFAULTHANDLER: "1",
    PYTHONUTF8: "1",
    ...options.env,
    PYTHONPATH: folders.join(delimiter),
  };
  // Python would not find pythonia's own modules, or would wait for a person at its end.
  delete environment["PYTHONSAFEPATH"];
  delete environment["PYTHONINSPECT"];
  return environment;
};
