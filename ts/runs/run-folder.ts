import { existsSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { z } from "zod";
import { MiloraError } from "../errors.js";
import { parseWith } from "../spec/parse.js";
import { makeFolder, readJsonFile, writeFileAtomic } from "../util/files.js";
import { onDisk } from "./disk.js";
import { manifestSchema, runFormatVersion, type Manifest } from "./manifest.js";
import { lockRun } from "./run-lock.js";

/** The places of a run folder. */
export interface RunFolder {
  readonly root: string;
  readonly manifest: string;
  /** The plan of the adapter that the run ends with, as soon as it is known. */
  readonly plan: string;
  /** The plan of the search before it; only where the method searches. */
  readonly searchPlan: string;
  readonly events: string;
  /** TensorBoard's event files; only where the spec asks for them. */
  readonly tensorboard: string;
  readonly checkpoints: string;
  /** The best adapter, in PEFT's layout. */
  readonly adapter: string;
  readonly results: string;
  /** Ratings of its answers by a judge; only where `milora judge` was asked. */
  readonly judgings: string;
  /** How the adapter routes tasks' prompts, a file a task; only where `milora routing` was asked. */
  readonly routing: string;
  readonly data: string;
  /** Who writes the run; there while it is in progress. */
  readonly lock: string;
}

export const runFolder = (root: string): RunFolder => ({
  root,
  manifest: join(root, "run.json"),
  plan: join(root, "plan", "adapter_config.json"),
  searchPlan: join(root, "plan", "search.json"),
  events: join(root, "events.jsonl"),
  tensorboard: join(root, "tensorboard"),
  checkpoints: join(root, "checkpoints"),
  adapter: join(root, "adapter"),
  results: join(root, "results"),
  judgings: join(root, "judgings"),
  routing: join(root, "routing"),
  data: join(root, "data"),
  lock: join(root, "run.lock"),
});

/** The run whose folder an adapter lies in; nothing where it lies elsewhere. */
export const runOfAdapter = (adapter: string): RunFolder | undefined => {
  const folder = runFolder(dirname(adapter));
  return existsSync(folder.manifest) ? folder : undefined;
};

/** A folder that a run holds: its places, and a function that lets go of it. */
export interface HeldRun {
  readonly folder: RunFolder;
  readonly release: () => void;
}

/** A lock without a run: the run was killed before it began, and what it left is in nobody's way. */
const isUnborn = (folder: RunFolder): boolean => existsSync(folder.lock) && !existsSync(folder.manifest);

const refuseUsed = (folder: RunFolder): void => {
  const { root, manifest } = folder;
  if (existsSync(manifest))
    throw new MiloraError("run/exists", `${root} already holds a run.`, {
      file: root,
      hint: "Go on with it by --resume, or choose another folder with --out.",
    });
  if (existsSync(root) && readdirSync(root).length > 0 && !isUnborn(folder))
    throw new MiloraError("run/exists", `${root} is not empty and holds no run.`, {
      file: root,
      hint: "Choose an empty or new folder with --out.",
    });
};

/**
 * Makes the folders of a new run and takes them for this process.
 * @throws MiloraError `run/exists` where the folder holds a run or anything else; `run/disk`.
 */
export const createRunFolder = (root: string): HeldRun => {
  const folder = runFolder(root);
  return onDisk({ what: "The run's folder", file: root }, () => {
    refuseUsed(folder);
    const unborn = isUnborn(folder);
    makeFolder(root);
    const release = lockRun(root, folder.lock);
    const places = [join(root, "plan"), folder.checkpoints, folder.results, folder.data];
    for (const place of places) {
      if (unborn) rmSync(place, { recursive: true, force: true });
      makeFolder(place);
    }
    return { folder, release };
  });
};

/**
 * Takes the folder of a run that is there for this process.
 * @throws MiloraError `run/exists` while the run is in progress elsewhere; `run/disk`.
 */
export const holdRun = (root: string): HeldRun => {
  const folder = runFolder(root);
  return { folder, release: lockRun(root, folder.lock) };
};

export const writeManifest = (folder: RunFolder, manifest: Manifest): Promise<void> =>
  writeFileAtomic(
    folder.manifest,
    `${JSON.stringify({ ...manifest, updated: new Date().toISOString() }, undefined, 2)}\n`,
  );

/**
 * Reads `run.json`.
 * @throws MiloraError `run/not-resumable` where there is none, or one of a newer format.
 */
export const readManifest = (folder: RunFolder): Manifest => {
  if (!existsSync(folder.manifest))
    throw new MiloraError("run/not-resumable", `${folder.root} holds no run: there is no run.json.`, {
      file: folder.manifest,
      hint: "Name the folder that `milora train --out` was given.",
    });
  const value: unknown = JSON.parse(readFileSync(folder.manifest, "utf8"));
  const format = typeof value === "object" && value !== null && "format" in value ? value.format : undefined;
  if (format !== runFormatVersion)
    throw new MiloraError(
      "run/not-resumable",
      `${folder.manifest} has format ${String(format)}; this version of milora reads ${runFormatVersion}.`,
      { file: folder.manifest, found: String(format), allowed: String(runFormatVersion) },
    );
  return parseWith(manifestSchema, value, { what: "The run record", file: folder.manifest });
};

const planSchema = z.record(z.string(), z.json());

/** Writes a plan, an adapter's `adapter_config.json`. */
export const writePlan = (file: string, plan: object): Promise<void> =>
  writeFileAtomic(file, `${JSON.stringify(plan, undefined, 2)}\n`);

/** Reads the plan of the adapter that a run trains. */
export const readPlan = async ({ plan }: RunFolder): Promise<z.output<typeof planSchema>> =>
  parseWith(planSchema, await readJsonFile(plan, "the run's plan"), { what: "The run's plan", file: plan });
