import { rmSync } from "node:fs";
import { join } from "node:path";
import type { Backend } from "../backend/backend.js";
import type { Hub } from "../data/hub.js";
import { MiloraError } from "../errors.js";
import type { ModelGraph } from "../graph/model-graph.js";
import { resolveMethod } from "../methods/registry.js";
import { restoreBestAdapter } from "../runs/best-adapter.js";
import { newestCheckpoint, type Checkpoint, type LoopState } from "../runs/checkpoint.js";
import { runFormatVersion, type Manifest } from "../runs/manifest.js";
import {
  createRunFolder,
  holdRun,
  readManifest,
  readPlan,
  writeManifest,
  writePlan,
  type RunFolder,
} from "../runs/run-folder.js";
import type { RunSpec } from "../spec/run.js";
import { shortHash } from "../util/records.js";
import { createTrainer } from "./create-trainer.js";
import { allowedChanges, checkRows, checkSource } from "./resume-checks.js";
import type { Trainer } from "./trainer.js";
import { dataChecksums, loadTrainingData, rowFiles, writeTrainingData } from "./training-data.js";
import { methodFromWarmStart, parentOf } from "./warm-start.js";

/** The name of the adapter that a run trains, on the Python side. */
const adapterName = "trained";

export interface RunToOpen {
  readonly backend: Backend;
  readonly graph: ModelGraph;
  readonly spec: RunSpec;
  /** For rows that no local file holds. */
  readonly hub?: Hub | undefined;
  /** The run's folder. */
  readonly out: string;
  /** Fields of the spec that may differ from the run that is resumed, such as `train.maxSteps`. */
  readonly allow: readonly string[];
  /** Device, dtype and versions of the open session, for the record. */
  readonly session: {
    readonly device: string;
    readonly dtype: string;
    readonly versions: Readonly<Record<string, string>>;
  };
}

/** A run that is ready to loop. */
export interface OpenedRun {
  readonly folder: RunFolder;
  readonly release: () => void;
  readonly trainer: Trainer;
  /** The record as the run goes on with it. */
  readonly manifest: Manifest;
  readonly from: LoopState | undefined;
  /** What is odd about rows, checkpoints or versions, a sentence each. */
  readonly warnings: readonly string[];
}

/** What a run is once its folder is held. */
type Content = Omit<OpenedRun, "folder" | "release">;

/** What fails once a trainer is open must not leave its adapter behind. */
const orClose = async <Result>(trainer: Trainer, work: () => Promise<Result>): Promise<Result> => {
  try {
    return await work();
  } catch (error) {
    await trainer.close().catch(() => undefined);
    throw error;
  }
};

/** The method's counts, or where a search is over those of what it found, all of which is active. */
export const parametersOf = ({ method: { count }, phase, trainable }: Trainer): Manifest["parameters"] =>
  phase.index === 0
    ? { trainable: count.trainable, activated: { ...count.activated } }
    : { trainable, activated: { min: trainable, mean: trainable, max: trainable } };

const firstManifest = (
  { spec, session }: RunToOpen,
  trainer: Trainer,
  data: Omit<Manifest["data"], "train" | "dev">,
): Manifest => ({
  format: runFormatVersion,
  state: "running",
  created: new Date().toISOString(),
  updated: new Date().toISOString(),
  versions: { ...session.versions },
  device: session.device,
  dtype: session.dtype,
  spec,
  plan: shortHash(trainer.config),
  data: { train: trainer.rows.train.checksum, dev: trainer.rows.dev.checksum, ...data },
  parent: parentOf(spec.train),
  changes: [],
  step: 0,
  stoppedBy: null,
  skipped: 0,
  best: null,
  tokensPerSecond: null,
  parameters: parametersOf(trainer),
  error: null,
});

const newContent = async (run: RunToOpen, folder: RunFolder): Promise<Content> => {
  const { backend, graph, spec } = run;
  const method = resolveMethod(graph, await methodFromWarmStart(spec.method, spec.train));
  const data = await loadTrainingData(spec.data, spec.train.seed, run.hub);
  const files = await writeTrainingData(data, folder.data);
  const { format, devSource, warnings } = data;
  const source = dataChecksums(data);
  const parts = { backend, adapter: adapterName, method, settings: spec.train };
  const trainer = await createTrainer({ ...parts, files, format, devSource });
  const manifest = firstManifest(run, trainer, { format, source });
  await orClose(trainer, async () => {
    await writePlan(folder.plan, trainer.config);
    await writeManifest(folder, manifest);
  });
  return { trainer, manifest, from: undefined, warnings };
};

/**
 * Opens a new run in its folder.
 * @throws MiloraError `run/exists` for a folder in use, `run/disk`, `data/bad-row` and what the Python side refuses; the
 * folder is then removed.
 */
export const openNew = async (run: RunToOpen): Promise<OpenedRun> => {
  const held = createRunFolder(run.out);
  try {
    return { ...held, ...(await newContent(run, held.folder)) };
  } catch (error) {
    // There is no run yet; what is left of it would be in the way of the next try. Removed while it is still held.
    try {
      rmSync(held.folder.root, { recursive: true, force: true });
    } catch {
      // What could not be removed matters less than why the run could not start.
    }
    held.release();
    throw error;
  }
};

const usableCheckpoint = async (
  folder: RunFolder,
): Promise<{ readonly checkpoint: Checkpoint | undefined; readonly passedOver: readonly string[] }> => {
  const found = await newestCheckpoint(folder.checkpoints);
  if (found.checkpoint === undefined && found.passedOver.length > 0)
    throw new MiloraError(
      "run/not-resumable",
      `No checkpoint of the run in ${folder.root} is whole:\n${found.passedOver.map((line) => `  - ${line}`).join("\n")}`,
      { file: folder.checkpoints, problems: found.passedOver, hint: "Start a new run." },
    );
  return found;
};

/** Another version of a library may compute other last digits. */
const versionWarnings = ({ versions }: Manifest, session: RunToOpen["session"]): readonly string[] =>
  ["torch", "transformers", "peft"]
    .filter((name) => versions[name] !== session.versions[name])
    .map((name) => `The run began with ${name} ${versions[name]} and goes on with ${session.versions[name]}.`);

const resumedContent = async (run: RunToOpen, folder: RunFolder): Promise<Content> => {
  const { backend, graph, spec, session, allow } = run;
  const manifest = readManifest(folder);
  const changed = allowedChanges(folder.root, manifest, { spec, session, allow });
  const method = resolveMethod(graph, await methodFromWarmStart(spec.method, spec.train));
  const { checkpoint, passedOver } = await usableCheckpoint(folder);
  const sourceWarnings = await checkSource(folder.root, manifest, run);
  const phase = checkpoint?.state.phase ?? 0;
  const trainer = await createTrainer({
    backend,
    adapter: adapterName,
    method,
    settings: spec.train,
    files: rowFiles(folder.data),
    format: manifest.data.format,
    devSource: "the rows that the run was started with",
    // What a search found stands in the plan; the first phase's plan is computed.
    at: phase > 0 ? { phase, config: await readPlan(folder) } : undefined,
  });
  const step = checkpoint?.state.step ?? 0;
  const { device, dtype } = session;
  const changes = [...manifest.changes, ...(changed.length > 0 ? [{ step, changed: [...changed] }] : [])];
  const running = { ...manifest, state: "running", error: null, spec, device, dtype, changes } as const;
  await orClose(trainer, async () => {
    checkRows(folder.data, manifest, trainer.rows);
    if (checkpoint !== undefined) {
      await trainer.restore(checkpoint.state, join(checkpoint.folder, "training"));
      restoreBestAdapter(checkpoint.folder, folder.adapter);
    }
    await writeManifest(folder, running);
  });
  return {
    trainer,
    manifest: running,
    from: checkpoint?.state,
    warnings: [
      ...passedOver,
      ...sourceWarnings,
      ...changed.map((text) => `Changed by name: ${text}.`),
      ...versionWarnings(manifest, session),
    ],
  };
};

/**
 * Opens a run that is there, at its newest whole checkpoint.
 * @throws MiloraError `run/exists` while it is in progress; `run/not-resumable`.
 */
export const openResumed = async (run: RunToOpen): Promise<OpenedRun> => {
  const held = holdRun(run.out);
  try {
    return { ...held, ...(await resumedContent(run, held.folder)) };
  } catch (error) {
    held.release();
    throw error;
  }
};
