import { delimiter } from "node:path";
import type { FullSessionOptions } from "./options.js";
import { pythonRoot } from "./environment/index.js";

/** What holds unless the user has set it: no progress bars, advice or telemetry that nobody asked for. */
const defaults = {
  HF_HUB_DISABLE_PROGRESS_BARS: "1",
  HF_HUB_DISABLE_TELEMETRY: "1",
  TRANSFORMERS_VERBOSITY: "error",
  TRANSFORMERS_NO_ADVISORY_WARNINGS: "1",
  TOKENIZERS_PARALLELISM: "false",
  TQDM_DISABLE: "1",
} as const;

/**
 * How threads wait, unless the user has set a policy. Spinning, they stall a step twentyfold where another process wants
 * a core; asleep at once, they take longer to wake than many products of a decode step take. So gcc's OpenMP spins this
 * often, under 0.1 ms, and others sleep.
 */
const waiting = { OMP_WAIT_POLICY: "PASSIVE", GOMP_SPINCOUNT: "3000" } as const;

/** The environment variables of a session's Python: this process's own, those of the bridge, then the user's. */
export const childEnvironment = (options: FullSessionOptions): Readonly<Record<string, string | undefined>> => {
  const inherited = process.env["PYTHONPATH"];
  const folders = [pythonRoot, ...options.pythonPath, ...(inherited ? [inherited] : [])];
  const hasPolicy = "OMP_WAIT_POLICY" in process.env || "OMP_WAIT_POLICY" in options.env;
  const environment: Record<string, string | undefined> = {
    ...defaults,
    ...(hasPolicy ? {} : waiting),
    ...process.env,
    PYTHONUNBUFFERED: "1",
    PYTHONFAULTHANDLER: "1",
    PYTHONUTF8: "1",
    // The package then loads torch with the first operation, and a session opens at once.
    MILORA_SERVER: "1",
    ...options.env,
    PYTHONPATH: folders.join(delimiter),
  };
  // Python would not find pythonia's own modules, or would wait for a person at its end.
  delete environment["PYTHONSAFEPATH"];
  delete environment["PYTHONINSPECT"];
  return environment;
};
