import type { Hub } from "../data/hub.js";
import { MiloraError } from "../errors.js";
import type { Manifest } from "../runs/manifest.js";
import type { RunSpec } from "../spec/run.js";
import { nearest } from "../util/did-you-mean.js";
import { sourceName } from "./row-source.js";
import type { TrainingRows } from "./training-rows.js";
import { dataChecksums, loadTrainingData } from "./training-data.js";

/** The fields that may change within a run, by name; any other one would make it another run. */
const changeable: readonly string[] = [
  "model",
  "data.train",
  "data.dev",
  "data.dir",
  "session.device",
  "session.dtype",
  "train.epochs",
  "train.maxSteps",
  "train.microBatch",
  "train.gradientCheckpointing",
  "train.compile",
  "train.learningRate",
  "train.activationLearningRate",
  "train.activationEvery",
  "train.loraPlusRatio",
  "train.bilevel",
  "train.warmup",
  "train.weightDecay",
  "train.weightDecayOn",
  "train.maxGradientNorm",
  "train.evalEvery",
  "train.patience",
  "train.checkpointEvery",
  "train.keepCheckpoints",
  "train.nonFiniteLimit",
  "train.stallMinutes",
  "train.tensorboard",
  "train.device",
  "train.dtype",
  "train.attention",
  "scale.ranks",
];

/** A field that differs, such as `train.maxSteps`, and how: `train.maxSteps: 100 → 200`. */
interface Change {
  readonly field: string;
  readonly text: string;
}

const changesOf = (before: unknown, now: unknown, field = ""): readonly Change[] => {
  if (typeof before !== "object" || typeof now !== "object" || before === null || now === null) {
    const shown = (value: unknown): string => JSON.stringify(value) ?? "nothing";
    return before === now ? [] : [{ field, text: `${field}: ${shown(before)} → ${shown(now)}` }];
  }
  const keys = new Set([...Object.keys(before), ...Object.keys(now)]);
  return [...keys].flatMap((key) =>
    changesOf(Reflect.get(before, key), Reflect.get(now, key), field === "" ? key : `${field}.${key}`),
  );
};

/** What of a spec's `scale` belongs to the run; where the ranks are and what each has does not. */
const scaleOfRun = ({ scale }: Pick<RunSpec, "scale">): { readonly ranks: number } => ({ ranks: scale?.ranks ?? 1 });

const checkNames = (allow: readonly string[]): void => {
  for (const name of allow) {
    if (changeable.includes(name)) continue;
    const close = nearest(name, changeable);
    throw new MiloraError(
      "input/unknown-name",
      `${name} can't change within a run.${close === undefined ? "" : ` Did you mean "${close}"?`} Allowed: ${changeable.join(", ")}.`,
      {
        found: name,
        allowed: changeable.join(", "),
        hint: "A new run may start from this one's adapter: set train.warmStart to its folder.",
      },
    );
  }
};

/**
 * What differs from the run as it was started, all of it allowed by name; usually nothing.
 * @throws MiloraError `run/not-resumable` that lists what changed and is not in `allow`.
 */
export const allowedChanges = (
  root: string,
  manifest: Manifest,
  {
    spec,
    session,
    allow,
  }: {
    readonly spec: RunSpec;
    readonly session: { readonly device: string; readonly dtype: string };
    readonly allow: readonly string[];
  },
): readonly string[] => {
  checkNames(allow);
  if (manifest.state === "finished")
    throw new MiloraError(
      "run/not-resumable",
      `The run in ${root} is finished (${manifest.stoppedBy ?? "done"} at step ${manifest.step}).`,
      { file: root, hint: `To train longer, start a new run from its adapter: train.warmStart = ${root}.` },
    );
  const { device, dtype } = manifest;
  const now = { ...spec, scale: scaleOfRun(spec), session: { device: session.device, dtype: session.dtype } };
  const before = { ...manifest.spec, scale: scaleOfRun(manifest.spec), session: { device, dtype } };
  const changes = changesOf(before, now);
  const refused = changes.filter(({ field }) => !allow.includes(field)).map(({ text }) => text);
  if (refused.length > 0)
    throw new MiloraError(
      "run/not-resumable",
      `The spec differs from the one that the run in ${root} was started with:\n${refused.map((line) => `  - ${line}`).join("\n")}`,
      {
        file: root,
        problems: refused,
        hint: "Resume with the spec as it was, allow a change by name (--allow train.maxSteps), or start a new run.",
      },
    );
  return changes.map(({ text }) => text);
};

/** What a run's rows are read from. */
interface RowsOfRun {
  readonly spec: RunSpec;
  readonly hub?: Hub | undefined;
}

/** Codes that say that the source of the rows can't be looked at now. */
const gone: readonly string[] = ["input/missing-file", "environment/missing-package", "data/unreachable"];

/** Checksums of the rows as `loadTrainingData` reads them now; undefined where a file is gone. */
const checksumsNow = async ({
  spec,
  hub,
}: RowsOfRun): Promise<{ readonly train: string; readonly dev: string } | undefined> => {
  try {
    return dataChecksums(await loadTrainingData(spec.data, spec.train.seed, hub));
  } catch (error) {
    if (MiloraError.isInstance(error) && gone.includes(error.code)) return undefined;
    throw error;
  }
};

/**
 * Looks whether the source of a run's rows is as it was.
 * @returns a warning where it is gone: the run has rows of its own.
 * @throws MiloraError `run/not-resumable` that names what changed.
 */
export const checkSource = async (root: string, manifest: Manifest, rows: RowsOfRun): Promise<readonly string[]> => {
  const { spec } = rows;
  const { source } = manifest.data;
  if (source === undefined) return [];
  const now = await checksumsNow(rows);
  if (now === undefined)
    return [`The source of the rows (${sourceName(spec.data)}) is gone; the run goes on with its own copy.`];
  for (const which of ["train", "dev"] as const)
    if (now[which] !== source[which])
      throw new MiloraError(
        "run/not-resumable",
        `The ${which === "train" ? "training" : "dev"} rows of ${sourceName(spec.data, which)} changed since the run in ${root} was started.`,
        {
          file: sourceName(spec.data, which),
          found: now[which],
          allowed: source[which],
          hint: "Put the data back as it was, or start a new run; train.warmStart = this run's folder starts from its adapter.",
        },
      );
  return [];
};

/**
 * Looks whether the run's own rows give the tokens that they gave.
 * @throws MiloraError `run/not-resumable`.
 */
export const checkRows = (folder: string, { data }: Manifest, { train, dev }: TrainingRows): void => {
  if (train.checksum === data.train && dev.checksum === data.dev) return;
  throw new MiloraError("run/not-resumable", `The rows in ${folder} are not the ones that the run was started with.`, {
    file: folder,
    hint: "Put the files back as they were, or start a new run.",
  });
};
