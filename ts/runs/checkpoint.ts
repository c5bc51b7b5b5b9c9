import { createHash } from "node:crypto";
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { MiloraError } from "../errors.js";
import { writeFileAtomic } from "../util/files.js";

/** Where the loop stands; with the Python side's state it is all that a resumed run needs. */
export const loopStateSchema = z.object({
  format: z.literal(1),
  step: z.int(),
  /** The phase that the run is in, from 0; records of older versions have none. */
  phase: z.int().min(0).default(0),
  epoch: z.int(),
  /** Batches of this epoch that are done. */
  batch: z.int(),
  devEpoch: z.int(),
  devBatch: z.int(),
  best: z.object({ step: z.int(), devPerplexity: z.number() }).nullable(),
  evaluationsWithoutBest: z.int(),
  /** Bytes of events.jsonl that belong to the steps so far. */
  eventBytes: z.int(),
  /** Training so far. */
  seconds: z.number(),
  tokens: z.int(),
});

export type LoopState = z.output<typeof loopStateSchema>;

const loopFile = "loop.json";
const stepOf = (name: string): number => Number(/^step-(\d+)$/.exec(name)?.[1] ?? Number.NaN);

const fsyncFolder = (folder: string): void => {
  const handle = openSync(folder, "r");
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
};

const checksum = (state: string): string => createHash("sha256").update(state).digest("hex");

/**
 * Writes a checkpoint: the Python side's state by `saveTensors(folder)`, then the loop's own, all in a folder
 * aside that is renamed at the end. Whatever fails on the way, the checkpoints before it stay as they are.
 * @returns the checkpoint's folder, `<checkpoints>/step-<n>`.
 */
export const writeCheckpoint = async (
  checkpoints: string,
  state: LoopState,
  saveTensors: (folder: string) => Promise<unknown>,
): Promise<string> => {
  const folder = join(checkpoints, `step-${state.step}`);
  const partial = `${folder}.partial`;
  rmSync(partial, { recursive: true, force: true });
  mkdirSync(partial, { recursive: true });
  try {
    await saveTensors(join(partial, "training"));
    const text = JSON.stringify(state);
    await writeFileAtomic(join(partial, loopFile), JSON.stringify({ state: text, sha256: checksum(text) }));
    fsyncFolder(partial);
    rmSync(folder, { recursive: true, force: true });
    renameSync(partial, folder);
    fsyncFolder(checkpoints);
  } catch (error) {
    rmSync(partial, { recursive: true, force: true });
    throw diskError(error, folder);
  }
  return folder;
};

const diskError = (error: unknown, folder: string): unknown => {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  if (code !== "ENOSPC" && code !== "EROFS" && code !== "EACCES") return error;
  return new MiloraError(
    "run/disk",
    `The checkpoint ${folder} could not be written (${code}); older ones are whole.`,
    {
      file: folder,
      cause: error,
      hint: "Make room or choose another folder with --out, then go on with --resume.",
    },
  );
};

const readLoopState = (folder: string): LoopState | undefined => {
  const file = join(folder, loopFile);
  if (!existsSync(file)) return undefined;
  try {
    const { state, sha256 } = z
      .object({ state: z.string(), sha256: z.string() })
      .parse(JSON.parse(readFileSync(file, "utf8")));
    return checksum(state) === sha256 ? loopStateSchema.parse(JSON.parse(state)) : undefined;
  } catch {
    // A garbled file is the same as none: the checkpoint is not whole.
    return undefined;
  }
};

/** The newest whole checkpoint of a run, if any; unfinished ones are passed over. */
export const newestCheckpoint = (
  checkpoints: string,
): { readonly folder: string; readonly state: LoopState } | undefined => {
  if (!existsSync(checkpoints)) return undefined;
  const steps = readdirSync(checkpoints)
    .map(stepOf)
    .filter((step) => !Number.isNaN(step))
    .toSorted((a, b) => b - a);
  for (const step of steps) {
    const folder = join(checkpoints, `step-${step}`);
    const state = readLoopState(folder);
    if (state !== undefined) return { folder, state };
  }
  return undefined;
};

/** Removes all but the `keep` newest checkpoints, and what killed saves left. */
export const pruneCheckpoints = (checkpoints: string, keep: number): void => {
  const names = readdirSync(checkpoints);
  const steps = names
    .map(stepOf)
    .filter((step) => !Number.isNaN(step))
    .toSorted((a, b) => b - a);
  for (const step of steps.slice(keep)) rmSync(join(checkpoints, `step-${step}`), { recursive: true, force: true });
  for (const name of names.filter((entry) => entry.endsWith(".partial")))
    rmSync(join(checkpoints, name), { recursive: true, force: true });
};
