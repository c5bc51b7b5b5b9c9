import type { DescribedModel } from "../../ts/graph/model-graph.js";

/** A described decoder of the Llama kind with the given sizes. */
export const llamaDescription = ({
  layers,
  hidden,
  ffn,
  keyValue = hidden,
}: {
  readonly layers: number;
  readonly hidden: number;
  readonly ffn: number;
  readonly keyValue?: number;
}): DescribedModel => ({
  model: "test/llama",
  location: "test/llama",
  architecture: "LlamaForCausalLM",
  hiddenSize: hidden,
  numParameters: 1,
  contextLength: 4096,
  layers: Array.from({ length: layers }, (_, index) => ({
    path: `model.layers.${index}`,
    linears: [
      { name: "self_attn.q_proj", inFeatures: hidden, outFeatures: hidden },
      { name: "self_attn.k_proj", inFeatures: hidden, outFeatures: keyValue },
      { name: "self_attn.v_proj", inFeatures: hidden, outFeatures: keyValue },
      { name: "self_attn.o_proj", inFeatures: hidden, outFeatures: hidden },
      { name: "mlp.gate_proj", inFeatures: hidden, outFeatures: ffn },
      { name: "mlp.up_proj", inFeatures: hidden, outFeatures: ffn },
      { name: "mlp.down_proj", inFeatures: ffn, outFeatures: hidden },
    ],
  })),
});

/** Llama-2 7B's sizes, as the paper counts. */
export const llama7b = llamaDescription({ layers: 32, hidden: 4096, ffn: 11_008 });
