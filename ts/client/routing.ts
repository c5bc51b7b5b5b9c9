import type { Backend } from "../backend/backend.js";
import type { Hub } from "../data/hub.js";
import { MiloraError } from "../errors.js";
import { loadSplit } from "../tasks/load-split.js";
import { taskByName } from "../tasks/registry.js";
import { templateOf } from "../tasks/task.js";
import type { RoutingOptions } from "./call-options.js";

/** How a task's prompts are routed. */
export interface RoutingFigures {
  readonly task: string;
  readonly prompts: number;
  /** Share of the layers in which each expert is active, mean over the prompts (the paper's Figure 2). */
  readonly activeShare: Readonly<Record<string, number>>;
  /** Share of the layers in which each expert is the most probable one, mean over the prompts. */
  readonly argmaxShare: Readonly<Record<string, number>>;
  /** Balance loss over the prompts, mean over layers; null without routers. */
  readonly balance: number | null;
  /** Prompts for which each expert was active: layer → expert → count. */
  readonly layers: readonly Readonly<Record<string, number>>[];
}

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
  const { backend, adapter, dir, limit, signal, hub } = options;
  if (adapter === null) throw new MiloraError("adapter/not-found", "Routing figures need an adapter.");
  const figures: RoutingFigures[] = [];
  for (const task of options.tasks.map((entry) => (typeof entry === "string" ? taskByName(entry) : entry))) {
    const examples = (await loadSplit(task, { dir, split: "test", hub })).examples.slice(0, limit);
    const template = templateOf(task, options.template);
    const requests = examples.map((example) => {
      const { prompt, chat = false } = task.render(example, template);
      return { prompt, chat };
    });
    const routed = await backend.call("routePrompts", { adapter, requests }, { signal });
    const { experts, argmax, chosen, prompts, balance } = routed;
    figures.push({
      task: task.name,
      prompts,
      activeShare: shares(experts, chosen, prompts),
      argmaxShare: shares(experts, argmax, prompts),
      balance,
      layers: chosen.map((layer) => named(experts, layer)),
    });
  }
  return figures;
};
