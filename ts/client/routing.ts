import type { Backend } from "../backend/backend.js";
import type { Hub } from "../data/hub.js";
import { MiloraError } from "../errors.js";
import type { RoutingFigures } from "../runs/routing-record.js";
import { loadSplit } from "../tasks/load-split.js";
import { taskByName } from "../tasks/registry.js";
import { templateOf } from "../tasks/task.js";
import type { RoutingOptions } from "./call-options.js";

const named = (experts: readonly string[], values: readonly number[]): Readonly<Record<string, number>> =>
  Object.fromEntries(experts.map((name, index) => [name, values[index] ?? 0]));

const shares = (
  experts: readonly string[],
  counts: readonly (readonly number[])[],
  prompts: number,
): Readonly<Record<string, number>> =>
  named(
    experts,
    experts.map((_, expert) => {
      const total = counts.reduce((sum, layer) => sum + (layer[expert] ?? 0), 0);
      return total / (prompts * counts.length);
    }),
  );

/** Routes the prompts of each task's test set; nothing is generated. */
export const routingFigures = async (
  options: Omit<RoutingOptions, "adapter"> & {
    readonly backend: Backend;
    readonly adapter: string | null;
    readonly hub?: Hub | undefined;
  },
): Promise<readonly RoutingFigures[]> => {
  const { backend, adapter, dir, limit, explain = 0, signal, hub } = options;
  if (adapter === null) throw new MiloraError("adapter/not-found", "Routing figures need an adapter.");
  const figures: RoutingFigures[] = [];
  for (const task of options.tasks.map((entry) => (typeof entry === "string" ? taskByName(entry) : entry))) {
    const examples = (await loadSplit(task, { dir, split: "test", hub })).examples.slice(0, limit);
    const template = templateOf(task, options.template);
    const requests = examples.map((example) => {
      const { prompt, chat = false } = task.render(example, template);
      return { prompt, chat };
    });
    const routed = await backend.call("routePrompts", { adapter, requests, explain }, { signal });
    const { experts, argmax, chosen, prompts, balance, gates } = routed;
    figures.push({
      task: task.name,
      template,
      prompts,
      activeShare: shares(experts, chosen, prompts),
      argmaxShare: shares(experts, argmax, prompts),
      balance,
      layers: chosen.map((layer) => named(experts, layer)),
      examples: gates.map((layers, index) => ({
        prompt: requests[index]?.prompt ?? "",
        layers: layers.map((layer) => named(experts, layer)),
      })),
    });
  }
  return figures;
};
