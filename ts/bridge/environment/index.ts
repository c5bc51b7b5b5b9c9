export {
  type EnvironmentOptions,
  type PythonEnvironment,
  type PythonSource,
  ensureEnvironment,
  findPython,
} from "./ensure.js";
export { type EnvironmentCheck, type EnvironmentInspection, inspectEnvironment } from "./inspect.js";
export { packageRoot, pythonRoot } from "./paths.js";
export type { EnvironmentProgress, OnProgress } from "./progress.js";
export type { Extra } from "./requirements.js";
