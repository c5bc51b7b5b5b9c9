import { existsSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { MiloraError } from "../errors.js";
import { makeFolder, syncFolder, writeFileAtomic } from "../util/files.js";
import { linkAdapter } from "./best-adapter.js";
import { folderChecksums, folderFault, textChecksum } from "./checksums.js";
import { diskError } from "./disk.js";

/** The format of a checkpoint that this package writes; it reads older ones too. */
const checkpointFormat = 2;

/** Where the loop stands; with the Python side's state it is all that a resumed run needs. */
export const loopStateSchema = z.object({
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
  /** The step of the last evaluation, -1 before the first; null in records of older versions. */
  evaluatedAt: z.int().nullable().default(null),
  /** Updates that were skipped because loss or gradient was not finite: of the whole run, and the last in a row. */
  skipped: z
    .object({ total: z.int(), inARow: z.object({ weights: z.int(), activation: z.int() }) })
    .default({ total: 0, inARow: { weights: 0, activation: 0 } }),
  /** Rows computed at once, as far as memory has brought it down; null: as the spec says. */
  microBatch: z.int().nullable().default(null),
  /** What a hook has the scheduled rates multiplied by. */
  rateFactor: z.number().default(1),
  /** Bytes of events.jsonl that belong to the steps so far. */
  eventBytes: z.int(),
  /** Training so far. */
  seconds: z.number(),
  tokens: z.int(),
});

export type LoopState = z.output<typeof loopStateSchema>;

/** A whole checkpoint. */
export interface Checkpoint {
  readonly folder: string;
  readonly state: LoopState;
}

const loopFile = "loop.json";

/** `files`: checksums of everything beside loop.json; older formats have none. */
const recordSchema = loopStateSchema.extend({ files: z.record(z.string(), z.string()).default({}) });
const envelopeSchema = z.object({ format: z.int().default(1), state: z.string(), sha256: z.string() });

/** Puts a new folder in the place of an old one, which stays under another name until the new one is there. */
const takePlace = (fresh: string, folder: string): void => {
  const old = `${folder}.old`;
  if (existsSync(folder)) {
    rmSync(old, { recursive: true, force: true });
    renameSync(folder, old);
  }
  renameSync(fresh, folder);
  rmSync(old, { recursive: true, force: true });
};

/**
 * Writes a checkpoint: the Python side's state by `saveTensors(folder)`, the best adapter so far, then the loop's own
 * state with the checksums of all that, in a folder aside that is renamed at the end. Whatever fails on the way, the
 * checkpoints before it stay as they are, also one of the same step.
 * @returns the checkpoint's folder, `<checkpoints>/step-<n>`.
 */
export const writeCheckpoint = async ({
  checkpoints,
  state,
  saveTensors,
  best,
}: {
  readonly checkpoints: string;
  readonly state: LoopState;
  readonly saveTensors: (folder: string) => Promise<unknown>;
  /** Folder of the best adapter; undefined: there is none yet. */
  readonly best?: string | undefined;
}): Promise<string> => {
  const folder = join(checkpoints, `step-${state.step}`);
  const partial = `${folder}.partial`;
  try {
    rmSync(partial, { recursive: true, force: true });
    makeFolder(partial);
    await saveTensors(join(partial, "training"));
    if (best !== undefined) linkAdapter(best, join(partial, "best"));
    const text = JSON.stringify({ ...state, files: await folderChecksums(partial) });
    const envelope = { format: checkpointFormat, state: text, sha256: textChecksum(text) };
    await writeFileAtomic(join(partial, loopFile), JSON.stringify(envelope));
    await syncFolder(partial);
    takePlace(partial, folder);
    await syncFolder(checkpoints);
  } catch (error) {
    rmSync(partial, { recursive: true, force: true });
    throw diskError(error, { what: "The older checkpoints are whole; the checkpoint", file: folder });
  }
  return folder;
};

const refuseNewer = (folder: string, format: number): void => {
  if (format <= checkpointFormat) return;
  throw new MiloraError(
    "run/not-resumable",
    `The checkpoint ${folder} has format ${format}; this version of milora reads up to ${checkpointFormat}.`,
    {
      file: folder,
      found: String(format),
      allowed: `1 to ${checkpointFormat}`,
      hint: "Resume with the version of milora that wrote it.",
    },
  );
};

/** A checkpoint's state, or the fault that keeps it from being used, a sentence. */
const readCheckpoint = async (folder: string): Promise<LoopState | string> => {
  let envelope: z.output<typeof envelopeSchema>;
  try {
    envelope = envelopeSchema.parse(JSON.parse(readFileSync(join(folder, loopFile), "utf8")));
  } catch {
    return `${loopFile} is missing or garbled`;
  }
  refuseNewer(folder, envelope.format);
  if (textChecksum(envelope.state) !== envelope.sha256)
    return `${loopFile} is not as it was written (its checksum differs)`;
  const { files, ...state } = recordSchema.parse(JSON.parse(envelope.state));
  return (await folderFault(folder, files)) ?? state;
};

const stepPattern = /^step-(\d+)(\.old)?$/;

/** Folders that may be checkpoints, newest first; one that stepped aside only counts where its successor never came. */
const candidates = (checkpoints: string): readonly string[] => {
  const names = existsSync(checkpoints) ? readdirSync(checkpoints) : [];
  return names
    .flatMap((name) => {
      const [, step, old] = stepPattern.exec(name) ?? [];
      if (step === undefined || (old !== undefined && names.includes(`step-${step}`))) return [];
      return [{ name, step: Number(step) }];
    })
    .toSorted((a, b) => b.step - a.step)
    .map(({ name }) => name);
};

/**
 * The newest whole checkpoint of a run, if any, and a sentence on each newer one that was passed over.
 * @throws MiloraError `run/not-resumable` for one of a newer format.
 */
export const newestCheckpoint = async (
  checkpoints: string,
): Promise<{ readonly checkpoint: Checkpoint | undefined; readonly passedOver: readonly string[] }> => {
  const passedOver: string[] = [];
  for (const name of candidates(checkpoints)) {
    const folder = join(checkpoints, name);
    const state = await readCheckpoint(folder);
    if (typeof state !== "string") return { checkpoint: { folder, state }, passedOver };
    passedOver.push(`The checkpoint ${folder} is passed over: ${state}.`);
  }
  return { checkpoint: undefined, passedOver };
};

/**
 * Removes all but the `keep` newest checkpoints and the best step's own, with what killed saves left. One of a later
 * step than the run has made is of a record that was cut off, and goes too.
 */
export const pruneCheckpoints = (
  checkpoints: string,
  { keep, step, best }: { readonly keep: number; readonly step: number; readonly best?: number | undefined },
): void => {
  const past = candidates(checkpoints).filter((name) => Number(stepPattern.exec(name)?.[1]) <= step);
  const kept = new Set([...past.slice(0, keep), ...(best === undefined ? [] : [`step-${best}`])]);
  const ours = readdirSync(checkpoints).filter((name) => /^step-\d+(\.old|\.partial)?$/.test(name));
  for (const name of ours) if (!kept.has(name)) rmSync(join(checkpoints, name), { recursive: true, force: true });
};
