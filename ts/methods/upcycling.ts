import { z } from "zod";
import { MiloraError } from "../errors.js";
import type { ModelGraph } from "../graph/model-graph.js";
import { resolvePolicy } from "../graph/policy.js";
import type { LoraAdapterConfig, MiloraAdapterConfig } from "../spec/adapter-config.js";
import type { MiloraMethod, Policy } from "../spec/adapters/milora.js";
import { planRouted } from "./routed.js";

/** What of any PEFT LoRA adapter's config tells its modules and scales. */
export const peftLoraConfig = z.object({
  peft_type: z.literal("LORA"),
  r: z.int().min(1),
  lora_alpha: z.number().positive(),
  use_rslora: z.boolean().default(false),
  use_dora: z.literal(false, "a DoRA adapter has magnitudes that LoRA experts can't hold").default(false),
  target_modules: z.union([z.string(), z.array(z.string())]),
  rank_pattern: z.record(z.string(), z.int()).nullish(),
  alpha_pattern: z.record(z.string(), z.number()).nullish(),
});

export type PeftLoraConfig = z.output<typeof peftLoraConfig>;

const endsWith = (path: string, name: string): boolean => path === name || path.endsWith(`.${name}`);

const isTarget = (path: string, targets: PeftLoraConfig["target_modules"]): boolean =>
  typeof targets === "string"
    ? targets === "all-linear" || new RegExp(`^(?:${targets})$`).test(path)
    : targets.some((name) => endsWith(path, name));

const fromPattern = (path: string, pattern: Readonly<Record<string, number>> | null | undefined): number | undefined =>
  Object.entries(pattern ?? {}).find(([name]) => endsWith(path, name))?.[1];

/** Rank and alpha of one module, so that alpha / rank is the adapter's own scale. */
const scaleOf = (path: string, lora: PeftLoraConfig): { readonly rank: number; readonly alpha: number } => {
  const rank = fromPattern(path, lora.rank_pattern) ?? lora.r;
  const alpha = fromPattern(path, lora.alpha_pattern) ?? lora.lora_alpha;
  return { rank, alpha: lora.use_rslora ? alpha * Math.sqrt(rank) : alpha };
};

/** The modules of each layer that the LoRA adapter has; layers without any are left out. */
const adaptedGraph = (graph: ModelGraph, lora: PeftLoraConfig): ModelGraph => ({
  ...graph,
  layers: graph.layers
    .map((layer) => ({
      ...layer,
      modules: layer.modules.filter(({ module }) => isTarget(`${layer.path}.${module}`, lora.target_modules)),
    }))
    .filter((layer) => layer.modules.length > 0),
});

/**
 * How much stronger each of a LoRA adapter's modules must be as an expert, of which only k are active: the number of
 * experts over k, so that their gates, which add up to k, add up to what the adapter was.
 */
const compensation = ({ gate, policy }: MiloraMethod, experts: number, active: number): number =>
  policy.kind === "learned" && gate !== "probability" ? experts / Math.min(active, experts) : 1;

/**
 * The plan of a MiLoRA adapter whose experts are a LoRA adapter's modules.
 * @throws MiloraError `adapter/mismatch` where the LoRA adapter has none of the model's modules.
 */
export const planFromLora = (graph: ModelGraph, lora: PeftLoraConfig, method: MiloraMethod): MiloraAdapterConfig => {
  const adapted = adaptedGraph(graph, lora);
  if (adapted.layers.length === 0)
    throw new MiloraError("adapter/mismatch", `The LoRA adapter has no module of ${graph.model}.`, {
      found: String(lora.target_modules),
      allowed: graph.layers[0]?.modules.map(({ module }) => module).join(", "),
    });
  const plan = planRouted(adapted, { ...method, rank: lora.r, alpha: lora.lora_alpha, modules: undefined });
  const most = Math.max(...plan.layers.map(({ experts }) => experts.length));
  return {
    ...plan,
    lora_alpha: lora.lora_alpha * compensation(method, most, plan.top_k),
    layers: plan.layers.map((layer) => ({
      ...layer,
      experts: layer.experts.map((expert) => {
        const { rank, alpha } = scaleOf(`${layer.path}.${expert.module}`, lora);
        return { ...expert, rank, alpha: alpha * compensation(method, layer.experts.length, plan.top_k) };
      }),
    })),
  };
};

/** A planned adapter as a graph, so that a policy can be resolved against it. */
const graphOf = (config: MiloraAdapterConfig): ModelGraph => ({
  model: config.base_model_name_or_path,
  location: config.base_model_name_or_path,
  architecture: "",
  hiddenSize: config.hidden_size,
  numParameters: 0,
  contextLength: null,
  layers: config.layers.map(({ path, experts }) => ({
    path,
    modules: experts.map(({ name, module, in_features, out_features }) => ({
      name,
      module,
      inFeatures: in_features,
      outFeatures: out_features,
    })),
  })),
});

const allActive = ({ gate, top_k, layers }: MiloraAdapterConfig): boolean =>
  gate === "none" && layers.every(({ experts }) => experts.length === top_k);

/**
 * The experts that are always active, by layer path: those of a fixed policy, of the `policy` that is named, or all
 * where k is the number of experts and gates are 1.
 * @throws MiloraError `adapter/unsupported` for an adapter whose choice depends on the prompt, or over DoRA experts.
 */
export const exportedExperts = (
  config: MiloraAdapterConfig,
  policy?: Policy,
): Readonly<Record<string, readonly string[]>> => {
  if (config.expert === "dora")
    throw new MiloraError("adapter/unsupported", "MiDoRA experts can't be written as plain LoRA modules.", {
      path: "expert",
      found: "dora",
      allowed: "lora",
    });
  const byPath = (chosen: readonly (readonly string[] | null)[]) =>
    Object.fromEntries(config.layers.map(({ path }, index) => [path, [...(chosen[index] ?? [])]]));
  if (policy !== undefined && policy.kind !== "learned")
    return byPath(resolvePolicy(policy, graphOf(config), config.top_k));
  if (config.policy === "fixed") return byPath(config.layers.map(({ chosen }) => chosen));
  if (allActive(config)) return byPath(config.layers.map(({ experts }) => experts.map(({ name }) => name)));
  throw new MiloraError(
    "adapter/unsupported",
    `The adapter's choice depends on the prompt (k = ${config.top_k}, gate ${config.gate}); a plain LoRA adapter can't say that.`,
    {
      path: "policy",
      found: "learned",
      allowed: "a fixed policy, or k = number of experts with gate none",
      hint: "Name the experts to keep with a policy: fixed, random or all.",
    },
  );
};

/** PEFT's config of the exported adapter; every module by its full path, since layers may differ. */
export const planExport = (
  config: MiloraAdapterConfig,
  chosen: Readonly<Record<string, readonly string[]>>,
): LoraAdapterConfig => {
  const kept = config.layers.flatMap(({ path, experts }) => {
    const active = experts.filter(({ name }) => chosen[path]?.includes(name) ?? false);
    // The gates of a learned policy add up to k, whatever is kept: the inverse of what an import does.
    const routed = config.policy === "learned" && config.gate !== "probability";
    const share = routed ? Math.min(config.top_k, experts.length) / active.length : 1;
    return active.map(({ module, rank, alpha }) => ({ path: `${path}.${module}`, rank, alpha: alpha * share }));
  });
  const [first] = kept;
  if (first === undefined)
    throw new MiloraError("adapter/unsupported", "No expert is active, so there is nothing to export.");
  const differing = kept.filter(({ rank, alpha }) => rank !== first.rank || alpha !== first.alpha);
  return {
    peft_type: "LORA",
    task_type: "CAUSAL_LM",
    base_model_name_or_path: config.base_model_name_or_path,
    inference_mode: true,
    r: first.rank,
    lora_alpha: first.alpha,
    lora_dropout: config.lora_dropout,
    rank_pattern: Object.fromEntries(differing.map(({ path, rank }) => [path, rank])),
    alpha_pattern: Object.fromEntries(differing.map(({ path, alpha }) => [path, alpha])),
    target_modules: kept.map(({ path }) => path),
    bias: "none",
    use_dora: false,
  };
};
