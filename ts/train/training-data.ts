import { join } from "node:path";
import type { Hub } from "../data/hub.js";
import { rowLines, writeRows } from "../data/write-rows.js";
import { textChecksum } from "../runs/checksums.js";
import type { DataSpec } from "../spec/data.js";
import { mixRows } from "./mix.js";
import { loadSource, type TrainingData } from "./row-source.js";

export type { TrainingData };

/**
 * Reads, limits, splits and mixes the rows that a spec names; every malformed row is an error before any training.
 * `hub`: fetches what no local file holds; without it only local rows are found.
 */
export const loadTrainingData = async (data: DataSpec, seed: number, hub?: Hub): Promise<TrainingData> =>
  "mix" in data ? await mixRows(data, { seed, hub }) : await loadSource(data, { seed, hub });

/** The files of a run's rows in their folder. */
export const rowFiles = (folder: string): { readonly train: string; readonly dev: string } => ({
  train: join(folder, "train.jsonl"),
  dev: join(folder, "dev.jsonl"),
});

/** Checksums of the files that {@link writeTrainingData} makes, without making them. */
export const dataChecksums = ({ train, dev }: TrainingData): { readonly train: string; readonly dev: string } => ({
  train: textChecksum(rowLines(train)),
  dev: textChecksum(rowLines(dev)),
});

/** Writes both sets as JSONL for the Python side; returns the two files. */
export const writeTrainingData = async (
  data: TrainingData,
  folder: string,
): Promise<{ readonly train: string; readonly dev: string }> => {
  const files = rowFiles(folder);
  await writeRows(files.train, data.train);
  await writeRows(files.dev, data.dev);
  return files;
};
