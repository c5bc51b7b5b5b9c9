import type { GraphModule, ModelGraph } from "./model-graph.js";

/** Parameters of one LoRA module: A (in × r) and B (r × out). */
export const loraSize = (module: GraphModule, rank: number): number => rank * (module.inFeatures + module.outFeatures);

/** Coefficients of a learned rational activation: a_0 … a_6 and b_1 … b_5 (paper, appendix A). */
export const rationalCoefficients = 12;

/** Adapter parameters that take part in one token's forward pass, over all layers. */
export interface ActivatedCount {
  /** Of the k smallest experts of each layer. */
  readonly min: number;
  /** Of a uniform choice. */
  readonly mean: number;
  /** Of the k largest experts of each layer. */
  readonly max: number;
}

/** What a method trains on a model. */
export interface ParameterCount {
  /** Everything that trains. */
  readonly trainable: number;
  /** The adapter modules alone (the experts). */
  readonly adapter: number;
  /** The routers alone. */
  readonly routers: number;
  /** Parts of the routers by name; empty without routers. */
  readonly routerParts: Readonly<Record<string, number>>;
  /** The paper's way of counting: adapter modules and the routers' projections W_r, no poolers, no activations. */
  readonly adapterAndProjection: number;
  /** Adapter parameters active for a prompt: the k smallest, a uniform choice's mean, the k largest of each layer. */
  readonly activated: ActivatedCount;
  /** The same with the routers' projections W_r added. */
  readonly activatedWithProjection: ActivatedCount;
  /** What trains in each kind of module. */
  readonly modules: readonly {
    /** The role, such as `q`. */
    readonly name: string;
    /** Layers that have it. */
    readonly layers: number;
    /** What trains in it, over all layers. */
    readonly parameters: number;
  }[];
  /** What the figures stand for: where a training ends with others, or the paper counts otherwise. */
  readonly note?: string;
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

/** Experts' sizes a layer → how many adapter parameters a top-k choice activates. */
export const activatedCount = (sizes: readonly (readonly number[])[], topK: number): ActivatedCount => {
  const sorted = sizes.map((layer) => layer.toSorted((a, b) => a - b));
  return {
    min: sum(sorted.map((layer) => sum(layer.slice(0, topK)))),
    mean: Math.round(
      sum(sizes.map((layer) => (layer.length === 0 ? 0 : (sum(layer) * Math.min(topK, layer.length)) / layer.length))),
    ),
    max: sum(sorted.map((layer) => sum(layer.slice(-topK)))),
  };
};

/** Parameters by module name over all layers. */
export const countByModule = (graph: ModelGraph, size: (module: GraphModule) => number): ParameterCount["modules"] => {
  const totals = new Map<string, { layers: number; parameters: number }>();
  for (const module of graph.layers.flatMap((layer) => layer.modules)) {
    const total = totals.get(module.name) ?? { layers: 0, parameters: 0 };
    totals.set(module.name, { layers: total.layers + 1, parameters: total.parameters + size(module) });
  }
  return [...totals].map(([name, total]) => ({ name, ...total }));
};
