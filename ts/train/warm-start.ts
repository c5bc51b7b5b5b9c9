import { join, resolve } from "node:path";
import { z } from "zod";
import type { Method } from "../spec/method.js";
import type { TrainSettings } from "../spec/train.js";
import { readJsonFile } from "../util/files.js";

type LoraLike = Extract<Method, { kind: "lora" | "dora" | "milora" | "midora" }>;

const isLoraLike = (method: Method): method is LoraLike => ["lora", "dora", "milora", "midora"].includes(method.kind);

const scaleOf = z.object({ lora_alpha: z.number().positive() });

/**
 * The method with the scale of the adapter that training starts from, where the spec names none: an import makes
 * experts stronger than their rank says. Whatever else differs is for the Python side to refuse, with the folder.
 */
export const methodFromWarmStart = async (method: Method, { warmStart }: TrainSettings): Promise<Method> => {
  if (warmStart === undefined || !isLoraLike(method)) return method;
  if (method.alpha !== undefined || method.ranks !== undefined) return method;
  const file = join(resolve(warmStart), "adapter_config.json");
  const found = scaleOf.safeParse(await readJsonFile(file, "the adapter's config").catch(() => undefined));
  return found.success ? { ...method, alpha: found.data.lora_alpha } : method;
};
