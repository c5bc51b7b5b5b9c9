import { ensureEnvironment, inspectEnvironment, type EnvironmentProgress } from "../bridge/environment/index.js";
import type { Backend, OpOutput } from "../backend/backend.js";
import { MiloraError } from "../errors.js";
import { openOptionsSchema } from "./options.js";
import { createModelSession } from "./session.js";

const noModel = openOptionsSchema.parse({ model: "none" });

export { inspectEnvironment, ensureEnvironment };

/** One line for people on what the making of the environment does. */
export const describeSetupProgress = ({ stage, message, elapsedSeconds }: EnvironmentProgress): string =>
  `Python environment, ${stage}: ${message}${elapsedSeconds >= 1 ? ` (${Math.round(elapsedSeconds)} s)` : ""}`;

/** One line of `milora doctor --ray`. */
export interface RayCheck {
  readonly name: "ray";
  readonly ok: boolean;
  /** What was found and, where not ok, what to do. */
  readonly detail: string;
}

const rayChecks = ({ version, address, cpus, gpus, nodes }: OpOutput<"inspectRay">): readonly RayCheck[] => {
  const has = `${cpus.total} CPUs (${cpus.free} free), ${gpus.total} GPUs (${gpus.free} free)`;
  return [
    { name: "ray", ok: true, detail: `ray ${version} at ${address}: ${nodes.length} node(s), ${has}` },
    ...nodes
      .filter(({ problems }) => problems.length > 0)
      .map(({ host, problems }) => ({
        name: "ray" as const,
        ok: false,
        detail: `node ${host}: ${problems.join("; ")}`,
      })),
  ];
};

/** A Python without a model, for what needs none; whoever opens it closes it. */
export const openPython = (): Promise<Backend> => createModelSession(noModel, {}).backend();

const withPython = async <Value>(use: (python: Backend) => Promise<Value>): Promise<Value> => {
  const python = await openPython();
  try {
    return await use(python);
  } finally {
    await python.close();
  }
};

/** Looks at the Ray at an address (`auto`: that of this machine) and whether its nodes can hold ranks; starts Python. */
export const inspectRay = async (address: string): Promise<readonly RayCheck[]> => {
  try {
    return rayChecks(await withPython((python) => python.call("inspectRay", { address })));
  } catch (error) {
    if (!MiloraError.isInstance(error)) throw error;
    return [{ name: "ray", ok: false, detail: [error.message, error.hint].filter(Boolean).join(" ") }];
  }
};

/** The versions that the Python in use has, and its devices; starts Python. */
export const inspectBackend = () => withPython((python) => python.call("hello", {}));
