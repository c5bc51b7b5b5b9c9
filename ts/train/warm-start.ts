import { existsSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { z } from "zod";
import type { Manifest } from "../runs/manifest.js";
import { readManifest, runFolder } from "../runs/run-folder.js";
import type { Method } from "../spec/method.js";
import type { TrainSettings } from "../spec/train.js";
import { readJsonFile } from "../util/files.js";

type LoraLike = Extract<Method, { kind: "lora" | "dora" | "milora" | "midora" }>;

const isLoraLike = (method: Method): method is LoraLike => ["lora", "dora", "milora", "midora"].includes(method.kind);

const scaleOf = z.object({ lora_alpha: z.number().positive() });

/** The adapter's folder that training starts from: `train.warmStart` itself, or the best one of a run that it names. */
export const warmStartFolder = ({ warmStart }: TrainSettings): string | undefined => {
  if (warmStart === undefined) return undefined;
  const run = runFolder(resolve(warmStart));
  return existsSync(run.manifest) ? run.adapter : run.root;
};

/** The run whose adapter training starts from, for the record; null where it is of no run. */
export const parentOf = (settings: TrainSettings): Manifest["parent"] => {
  const adapter = warmStartFolder(settings);
  if (adapter === undefined || basename(adapter) !== "adapter") return null;
  const run = runFolder(dirname(adapter));
  if (!existsSync(run.manifest)) return null;
  return { run: run.root, step: readManifest(run).best?.step ?? null };
};

/**
 * The method with the scale of the adapter that training starts from, where the spec names none: an import makes
 * experts stronger than their rank says. Whatever else differs is for the Python side to refuse, with the folder.
 */
export const methodFromWarmStart = async (method: Method, settings: TrainSettings): Promise<Method> => {
  const folder = warmStartFolder(settings);
  if (folder === undefined || !isLoraLike(method)) return method;
  if (method.alpha !== undefined || method.ranks !== undefined) return method;
  const file = join(folder, "adapter_config.json");
  const found = scaleOf.safeParse(await readJsonFile(file, "the adapter's config").catch(() => undefined));
  return found.success ? { ...method, alpha: found.data.lora_alpha } : method;
};
