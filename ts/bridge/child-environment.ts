import { delimiter } from "node:path";
import type { FullSessionOptions } from "./options.js";
import { pythonPackageFolder } from "./package-folder.js";

/** The environment variables of a session's Python: this process's own, those of the bridge, then the user's. */
export const childEnvironment = (options: FullSessionOptions): Readonly<Record<string, string | undefined>> => {
  const inherited = process.env["PYTHONPATH"];
  const folders = [pythonPackageFolder, ...options.pythonPath, ...(inherited ? [inherited] : [])];
  const environment: Record<string, string | undefined> = {
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
