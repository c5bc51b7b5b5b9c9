import { MiloraError } from "../errors.js";
import { selectModules, targetModules } from "../graph/adapted-modules.js";
import type { ModelGraph } from "../graph/model-graph.js";
import { loraSize, type ParameterCount } from "../graph/parameter-count.js";
import type { AdaloraAdapterConfig, AdaloraMethod } from "../spec/adapters/adalora.js";
import type { MethodDefinition } from "./method.js";
import { countOf } from "./planned.js";

const check = ({ initialRank, targetRank }: AdaloraMethod): void => {
  if (targetRank < initialRank) return;
  throw new MiloraError(
    "input/invalid-spec",
    `method.targetRank: found ${targetRank}; allowed: 1 to ${initialRank - 1}, below method.initialRank, or there is nothing to prune. For a fixed rank choose lora.`,
    { path: "method.targetRank", found: String(targetRank), allowed: `1 to ${initialRank - 1}` },
  );
};

const plan = (whole: ModelGraph, method: AdaloraMethod): AdaloraAdapterConfig => {
  check(method);
  const graph = selectModules(whole, method.modules);
  return {
    peft_type: "ADALORA",
    task_type: "CAUSAL_LM",
    base_model_name_or_path: graph.location,
    inference_mode: true,
    init_r: method.initialRank,
    target_r: method.targetRank,
    lora_alpha: method.alpha ?? method.initialRank,
    lora_dropout: method.dropout,
    orth_reg_weight: method.orthogonality,
    ...scheduleOf(method, 1),
    target_modules: [...targetModules(graph)],
    bias: "none",
  };
};

const scheduleOf = ({ initialShare, finalShare, interval }: AdaloraMethod, totalSteps: number) => ({
  tinit: Math.floor(totalSteps * initialShare),
  tfinal: Math.floor(totalSteps * finalShare),
  deltaT: interval,
  total_step: totalSteps,
});

/** The schedule of PEFT's allocator; it needs a step at which it can prune. */
const checkedSchedule = (method: AdaloraMethod, totalSteps: number) => {
  const schedule = scheduleOf(method, totalSteps);
  if (schedule.tinit >= totalSteps - schedule.tfinal)
    throw new MiloraError(
      "input/invalid-spec",
      `AdaLoRA has no step to prune in: of ${totalSteps}, ${schedule.tinit} are before the pruning and ${schedule.tfinal} after it. Train longer, or lower method.initialShare or method.finalShare.`,
      { path: "method.finalShare", found: `${method.initialShare} + ${method.finalShare}`, allowed: "less than 1" },
    );
  return schedule;
};

/** A, B and a singular value a rank; PEFT adds a constant a module. */
const count = (whole: ModelGraph, method: AdaloraMethod): ParameterCount => {
  check(method);
  const graph = selectModules(whole, method.modules);
  const before = countOf(graph, (module) => loraSize(module, method.initialRank) + method.initialRank);
  const after = countOf(graph, (module) => loraSize(module, method.targetRank) + method.targetRank);
  const constants = graph.layers.reduce((total, { modules }) => total + modules.length, 0);
  return {
    ...before,
    adapter: before.adapter + constants,
    activated: after.activated,
    activatedWithProjection: after.activated,
    note: `Before pruning; ${constants.toLocaleString("en")} of the adapter's are PEFT's constants. Activated: after it, if every module keeps the mean of ${method.targetRank} ranks.`,
  };
};

/** AdaLoRA (Zhang et al. 2023), PEFT's own class; its budget schedule belongs to the loop. */
export const adalora: MethodDefinition<"adalora"> = {
  kind: "adalora",
  label: "AdaLoRA",
  capabilities: { routed: false, mergeable: true, bilevel: false },
  plan,
  count,
  balance: () => 0,
  training: ({ config, method, totalSteps }) => {
    const schedule = checkedSchedule(method, totalSteps);
    return {
      phases: [{ name: "train", steps: totalSteps, search: null }],
      bestFrom: totalSteps - schedule.tfinal,
      scheduled: true,
      config: config.peft_type === "ADALORA" ? { ...config, ...schedule } : config,
    };
  },
};
