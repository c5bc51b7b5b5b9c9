import type { ModelGraph } from "../graph/model-graph.js";

/** Bytes that a training needs at most, by arithmetic; what the libraries need for themselves comes on top. */
export interface MemoryEstimate {
  /** The frozen model. */
  readonly base: number;
  /** What trains in float32: value, gradient and two moments, 16 bytes a number. */
  readonly trainables: number;
  /** What the backward pass needs of the longest micro-batch's layers. */
  readonly activations: number;
  /** Logits of a chunk of its answer positions, with what becomes of them: three times in float32. */
  readonly logits: number;
  /** All of them. */
  readonly total: number;
}

/** What the arithmetic starts from. */
export interface MemoryInput {
  readonly graph: ModelGraph;
  readonly dtype: string;
  readonly quantization: "none" | "nf4" | "int8";
  readonly trainable: number;
  readonly vocabSize: number;
  /** Rows, tokens a row with padding, and answer tokens of the longest micro-batch. */
  readonly batch: { readonly rows: number; readonly length: number; readonly answerTokens: number };
  readonly gradientCheckpointing: boolean;
  /** Whether attention probabilities are kept, as eager attention does. */
  readonly eager: boolean;
}

/** Logits that are computed at once, at most (`LOGITS_AT_ONCE` of the Python side); those of one token always are. */
const logitsAtOnce = 2 ** 23;

const bytesOf = (dtype: string): number => (dtype === "float32" ? 4 : 2);

/** Bytes of a weight of a quantised module; NF4 keeps a float32 scale for each 64. */
const quantizedBytes = { none: undefined, nf4: 0.5 + 4 / 64, int8: 1 } as const;

/** The frozen model: all in its dtype, but for the linear modules of its layers where they are quantised. */
const baseBytes = ({ graph, dtype, quantization }: MemoryInput): number => {
  const all = graph.numParameters * bytesOf(dtype);
  const bytes = quantizedBytes[quantization];
  if (bytes === undefined) return all;
  const modules = graph.layers.flatMap((layer) => layer.modules);
  const weights = modules.reduce((sum, { inFeatures, outFeatures }) => sum + inFeatures * outFeatures, 0);
  return Math.round(all - weights * (bytesOf(dtype) - bytes));
};

/** Values of width `hidden` that norms, activations and residuals of a layer keep a token. */
const keptHidden = 6;
/** Heads are this wide in nearly every decoder of these families; the config's own count is not at hand here. */
const headWidth = 64;

/** A layer's values that backward needs: inputs and outputs of its linear modules, and what lies between them. */
const layerValues = ({ graph, batch, eager }: MemoryInput, layer: ModelGraph["layers"][number]): number => {
  const linears = layer.modules.reduce((sum, { inFeatures, outFeatures }) => sum + inFeatures + outFeatures, 0);
  const aToken = linears + keptHidden * graph.hiddenSize;
  const probabilities = eager ? 2 * Math.ceil(graph.hiddenSize / headWidth) * batch.length : 0;
  return batch.rows * batch.length * (aToken + probabilities);
};

/** The memory of a training by arithmetic: see the terms of {@link MemoryEstimate}. */
export const estimateMemory = (input: MemoryInput): MemoryEstimate => {
  const { graph, dtype, trainable, vocabSize, batch, gradientCheckpointing } = input;
  const values = graph.layers.map((layer) => layerValues(input, layer));
  const all = values.reduce((sum, value) => sum + value, 0);
  // With checkpointing each layer keeps its input alone, and one at a time is computed again.
  const inputs = batch.rows * batch.length * graph.hiddenSize * graph.layers.length;
  const kept = gradientCheckpointing ? inputs + Math.max(0, ...values) : all;
  const base = baseBytes(input);
  const trainables = 16 * trainable;
  const activations = kept * bytesOf(dtype);
  const logits = 3 * 4 * Math.min(batch.answerTokens * vocabSize, Math.max(logitsAtOnce, vocabSize));
  return { base, trainables, activations, logits, total: base + trainables + activations + logits };
};
