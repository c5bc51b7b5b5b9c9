import { join, resolve } from "node:path";
import type { z } from "zod";
import { planFromLora, exportedExperts, peftLoraConfig, planExport } from "../methods/upcycling.js";
import { miloraAdapterConfig } from "../spec/adapter-config.js";
import { miloraMethod, policySchema } from "../spec/adapters/milora.js";
import { parseWith } from "../spec/parse.js";
import { withPreset } from "../spec/presets.js";
import { readJsonFile } from "../util/files.js";
import type { ModelSession } from "./session.js";

/** How a LoRA adapter becomes a MiLoRA adapter: what the routers are; ranks and scales are the LoRA adapter's. */
export interface ImportOptions {
  /** The folder of the PEFT LoRA adapter. */
  readonly folder: string;
  /** The folder of the new adapter. */
  readonly out: string;
  /** Fields of the method `milora`, such as topK and pooler. */
  readonly method?: Omit<z.input<typeof miloraMethod>, "kind" | "rank" | "ranks" | "alpha"> | undefined;
  /** Decides the new routers' weights; 0 by default. */
  readonly seed?: number | undefined;
}

/** Which adapter is written as plain LoRA, and where. */
export interface ExportOptions {
  /** The folder of the MiLoRA adapter. */
  readonly folder: string;
  /** The folder of the LoRA adapter. */
  readonly out: string;
  /** The experts to keep, where the adapter's own choice depends on the prompt. */
  readonly policy?: z.input<typeof policySchema> | undefined;
}

/** What was written. */
export interface UpcyclingResult {
  /** The folder that was written. */
  readonly folder: string;
  /** Parameters of the adapter in it. */
  readonly parameters: number;
}

const configOf = (folder: string): Promise<unknown> =>
  readJsonFile(join(folder, "adapter_config.json"), "the adapter's config");

/** Writes a MiLoRA adapter whose experts are a PEFT LoRA adapter's modules; its routers are new and need training. */
export const importLora = async (session: ModelSession, options: ImportOptions): Promise<UpcyclingResult> => {
  const [folder, out] = [resolve(options.folder), resolve(options.out)];
  const file = join(folder, "adapter_config.json");
  const lora = parseWith(peftLoraConfig, await configOf(folder), { what: "The LoRA adapter's config", file });
  const method = parseWith(miloraMethod, withPreset({ ...options.method, kind: "milora" }), { what: "The method" });
  const config = planFromLora(await session.graph(method), lora, method);
  await session.opened();
  const backend = await session.backend();
  const { parameters } = await backend.call("importLora", { folder, out, config, seed: options.seed ?? 0 });
  return { folder: out, parameters };
};

/** Writes a MiLoRA adapter with a choice that no prompt changes as a plain PEFT LoRA adapter. */
export const exportLora = async (session: ModelSession, options: ExportOptions): Promise<UpcyclingResult> => {
  const [folder, out] = [resolve(options.folder), resolve(options.out)];
  const file = join(folder, "adapter_config.json");
  const config = parseWith(miloraAdapterConfig, await configOf(folder), { what: "The adapter's config", file });
  const policy =
    options.policy === undefined ? undefined : parseWith(policySchema, options.policy, { what: "The policy" });
  const chosen = exportedExperts(config, policy);
  const backend = await session.backend();
  const input = { folder, out, config: planExport(config, chosen) };
  const names = Object.fromEntries(Object.entries(chosen).map(([path, experts]) => [path, [...experts]]));
  const { parameters } = await backend.call("exportLora", { ...input, chosen: names });
  return { folder: out, parameters };
};
