import { existsSync, statfsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname } from "node:path";
import { execa } from "execa";
import { MiloraError } from "../../errors.js";
import { type EnvironmentOptions, type PythonEnvironment, findPython } from "./ensure.js";
import { type Variables, miloraHome } from "./paths.js";
import { type ProbeReport, probe } from "./probe.js";
import { loadRequirements } from "./requirements.js";

/** One line of `milora doctor`. */
export interface EnvironmentCheck {
  readonly name: "node" | "python" | "packages" | "device" | "disk" | "pythonia";
  readonly ok: boolean;
  /** What was found and, where not ok, what to do. */
  readonly detail: string;
}

const gibibyte = 1024 ** 3;
const environmentBytes = 8 * gibibyte;
const spareBytes = gibibyte;

const checkNode = (): EnvironmentCheck => {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  const ok = major > 20 || (major === 20 && minor >= 19);
  return { name: "node", ok, detail: `Node ${process.versions.node}${ok ? "" : "; 20.19 or newer is needed"}` };
};

/** The GPUs that the NVIDIA driver lists; empty without a driver. */
const nvidiaGpus = async (variables: Variables): Promise<readonly string[]> => {
  const result = await execa("nvidia-smi", ["--query-gpu=name,driver_version", "--format=csv,noheader"], {
    env: { ...variables },
    extendEnv: false,
    reject: false,
    timeout: 15_000,
  });
  return result.failed ? [] : result.stdout.split("\n").filter((line) => line.trim() !== "");
};

/** Which device torch will use, and why. */
export const describeDevice = (
  device: ProbeReport["device"],
  gpus: readonly string[],
  python: string,
): Omit<EnvironmentCheck, "name"> & { readonly device: "cuda" | "mps" | "cpu" } => {
  if (device === null) return { ok: false, device: "cpu", detail: "torch does not import, so there is no device" };
  if (device.cuda)
    return {
      ok: true,
      device: "cuda",
      detail: `cuda: ${device.name ?? "a GPU"}, torch built for CUDA ${device.cudaBuild ?? "unknown"}`,
    };
  if (device.mps) return { ok: true, device: "mps", detail: "mps: torch sees Apple's GPU" };
  if (gpus.length === 0) return { ok: true, device: "cpu", detail: "cpu: nvidia-smi finds no NVIDIA GPU" };
  const why =
    device.cudaBuild === null
      ? `this torch is a build without CUDA; run: ${python} -m pip install --force-reinstall --no-deps torch (without a CPU index), then ${python} -m pip install torch`
      : `torch is built for CUDA ${device.cudaBuild} and cannot use the driver; update the NVIDIA driver, and look at CUDA_VISIBLE_DEVICES`;
  return { ok: false, device: "cpu", detail: `cpu, although there is ${gpus.join("; ")}: ${why}` };
};

const existingParent = (folder: string): string => (existsSync(folder) ? folder : existingParent(dirname(folder)));

const checkDisk = (variables: Variables, installed: boolean): EnvironmentCheck => {
  const home = miloraHome(variables);
  const { bavail, bsize } = statfsSync(existingParent(home));
  const needed = installed ? spareBytes : environmentBytes;
  const ok = bavail * bsize >= needed;
  const free = `${((bavail * bsize) / gibibyte).toFixed(1)} GiB free for ${home}`;
  return {
    name: "disk",
    ok,
    detail: ok ? free : `${free}; ${needed / gibibyte} GiB are needed: free some, or set MILORA_HOME`,
  };
};

const checkPythonia = (): EnvironmentCheck => {
  try {
    return { name: "pythonia", ok: true, detail: createRequire(import.meta.url).resolve("pythonia") };
  } catch {
    return { name: "pythonia", ok: false, detail: "the package pythonia is not installed; run npm install" };
  }
};

/** What `milora doctor` tells. */
export interface EnvironmentInspection {
  /** True where every check is. */
  readonly ok: boolean;
  /** The Python that is used; null while there is none. */
  readonly python: PythonEnvironment | null;
  /** The device that torch uses by default. */
  readonly device: "cuda" | "mps" | "cpu" | null;
  readonly checks: readonly EnvironmentCheck[];
}

const checkPython = async (options: EnvironmentOptions) => {
  try {
    const python = await findPython(options);
    const detail = python === undefined ? "not made yet; run: milora setup" : `${python.python} (${python.source})`;
    return {
      python,
      check: { name: "python", ok: python !== undefined, detail: [detail, ...(python?.notes ?? [])].join("; ") },
    } as const;
  } catch (error) {
    if (!MiloraError.isInstance(error)) throw error;
    const detail = error.hint === undefined ? error.message : `${error.message}; ${error.hint}`;
    return { python: undefined, check: { name: "python", ok: false, detail } } as const;
  }
};

const inspectPackages = async (python: PythonEnvironment, options: EnvironmentOptions, variables: Variables) => {
  const requirements = options.requirements ?? loadRequirements();
  const report = await probe({ python: python.python, requirements, variables, signal: options.signal });
  const detail = requirements.base
    .map(({ name }) => `${name} ${report.packages[name]?.version ?? "missing"}`)
    .join(", ");
  const broken = Object.entries(report.packages).filter(([, { error }]) => error !== null);
  const said = broken.map(([name, { error }]) => `${name} does not import: ${error}`).join("; ");
  const { device, ...check } = describeDevice(report.device, await nvidiaGpus(variables), python.python);
  const packages = { name: "packages", ok: broken.length === 0, detail: broken.length === 0 ? detail : said } as const;
  return { device, checks: [packages, { name: "device", ...check } as const] };
};

/** Looks at Node, Python, packages, device, disk and pythonia; makes nothing. */
export const inspectEnvironment = async (options: EnvironmentOptions = {}): Promise<EnvironmentInspection> => {
  const variables = options.variables ?? process.env;
  const { python, check } = await checkPython(options);
  const inside =
    python === undefined ? { device: null, checks: [] } : await inspectPackages(python, options, variables);
  const checks = [checkNode(), check, ...inside.checks, checkDisk(variables, python !== undefined), checkPythonia()];
  return { ok: checks.every(({ ok }) => ok), python: python ?? null, device: inside.device, checks };
};
