import { availableParallelism } from "node:os";
import { z } from "zod";
import { openPython } from "../client/environment.js";
import { MiloraError } from "../errors.js";
import { sweepRaySchema, type SweepRay } from "../spec/ray.js";
import { childStarter, type OwnProgram, type StartChildren } from "../sweep/child.js";
import { rayChildStarter } from "../sweep/ray-child.js";
import { counted } from "../util/text.js";
import { tell } from "./output.js";

/** `--ray [address]`. */
export const rayOption = z.union([z.boolean(), z.string().min(1)]).default(false);

/** The Ray of a sweep: what its spec says, at the address that the command names. */
export const rayOf = (option: z.output<typeof rayOption>, spec: SweepRay | undefined): SweepRay | undefined => {
  if (option === false) return spec;
  return sweepRaySchema.parse({ ...spec, ...(option === true ? {} : { address: option }) });
};

/** What starts a sweep's jobs. */
export interface SweepStarter {
  readonly start: StartChildren;
  /** Aborted with the sweep's own, and where nothing can be started any more. */
  readonly signal: AbortSignal;
  /**
   * Ends what it holds.
   * @throws MiloraError why nothing could be started any more.
   */
  readonly close: () => Promise<void>;
}

/** Children of a sweep that runs several at once share the cores, unless the user said how many threads. */
const childEnvironment = (parallel: number): Readonly<Record<string, string>> =>
  parallel === 1 || process.env["OMP_NUM_THREADS"] !== undefined
    ? {}
    : { OMP_NUM_THREADS: String(Math.max(1, Math.floor(availableParallelism() / parallel))) };

const ownCommand = (): OwnProgram => {
  const main = process.argv[1];
  if (main === undefined) throw new MiloraError("internal", "The program's own file is not known.");
  return [process.execPath, ...process.execArgv, main];
};

/** Starts our own program on this machine, for a sweep that runs so many at once. */
export const ownProgram = (parallel: number, signal: AbortSignal): StartChildren =>
  childStarter({ program: ownCommand(), signal, env: childEnvironment(parallel) });

const openRayStarter = async (ray: SweepRay, signal: AbortSignal): Promise<SweepStarter> => {
  const backend = await openPython();
  const loss = new AbortController();
  let lost: Error | undefined;
  const leave = async (): Promise<void> => {
    // Ray is left in order, which takes longer than Python has to end by itself.
    await backend.call("rayTasksClose", {}).catch(() => undefined);
    await backend.close();
  };
  const close = async (): Promise<void> => {
    await leave();
    if (lost !== undefined) throw lost;
  };
  const onLost = (error: Error): void => {
    lost = error;
    loss.abort();
  };
  try {
    const { address, nodes, cpusPerRun, gpusPerRun } = await backend.call("rayTasksOpen", ray, { signal });
    const each = [`${cpusPerRun} CPUs`, ...(gpusPerRun > 0 ? [`${gpusPerRun} GPUs`] : [])].join(" and ");
    tell(`ray ${address}: ${counted(nodes, "node")}, ${each} a run`);
  } catch (error) {
    await leave();
    throw error;
  }
  const both = AbortSignal.any([signal, loss.signal]);
  return { start: rayChildStarter({ program: ownCommand(), backend, signal: both, onLost }), signal: both, close };
};

/**
 * Opens what starts a sweep's jobs: tasks of Ray, or processes of this machine.
 * @throws MiloraError `environment/missing-package`, `scale/unreachable`, `scale/no-room`.
 */
export const openStarter = async ({
  parallel,
  ray,
  signal,
}: {
  readonly parallel: number;
  readonly ray: SweepRay | undefined;
  readonly signal: AbortSignal;
}): Promise<SweepStarter> =>
  ray === undefined
    ? { start: ownProgram(parallel, signal), signal, close: () => Promise.resolve() }
    : openRayStarter(ray, signal);
