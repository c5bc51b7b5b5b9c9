/**
 * What MiLoRA on Llama-2 takes on many GPUs, on paper and by simulation: memory a rank, bytes exchanged a step, and the
 * efficiency that is expected to 64 of them. Nothing here is measured; the assumptions are printed with the tables.
 *
 * `tsx scripts/capacity.ts [--batch 256] [--micro 8] [--rank 16] [--steps 200]` prints docs/results/capacity.md.
 */
import { parseArgs } from "node:util";
import { z } from "zod";
import { resolveGraph, type ModelGraph } from "../ts/graph/model-graph.js";
import { resolveMethod } from "../ts/methods/registry.js";
import { methodSchema } from "../ts/spec/method.js";
import { estimateMemory } from "../ts/train/memory-estimate.js";
import { drawSteps, type RankShare } from "./lib/rank-shares.js";

const { values } = parseArgs({
  options: {
    batch: { type: "string", default: "256" },
    micro: { type: "string", default: "8" },
    rank: { type: "string", default: "16" },
    steps: { type: "string", default: "200" },
  },
});
const number = z.coerce.number().int().min(1);
const { batch, micro, rank, steps } = z
  .object({ batch: number, micro: number, rank: number, steps: number })
  .parse(values);

const vocabSize = 32_000;

/** Sizes of the published configs; parameters without the inverse frequencies. */
const sizes = [
  { name: "Llama-2 7B", layers: 32, hidden: 4096, ffn: 11_008, keyValue: 4096, parameters: 6_738_415_616 },
  { name: "Llama-2 13B", layers: 40, hidden: 5120, ffn: 13_824, keyValue: 5120, parameters: 13_015_864_320 },
  { name: "Llama-2 70B", layers: 80, hidden: 8192, ffn: 28_672, keyValue: 1024, parameters: 68_976_648_192 },
] as const;
type Size = (typeof sizes)[number];

/** One GPU and the wires, as assumed: an H100's peak in bf16 and what of it large products reach; buses a GPU. */
const hardware = {
  memory: 80e9,
  flops: 989e12,
  reached: 0.4,
  /** Of a ring inside a node, and between nodes by one 400 Gbit/s card a GPU. */
  bytesInside: 300e9,
  bytesBetween: 40e9,
  gpusOfNode: 8,
  /** Of each of a ring's 2 (n − 1) turns. */
  latency: 15e-6,
  /** Of a step beside products and exchange: the call through Ray and the driver's answer. */
  call: 3e-3,
} as const;

const graphOf = ({ name, layers, hidden, ffn, keyValue, parameters }: Size): ModelGraph => {
  const linear = (name: string, inFeatures: number, outFeatures: number) => ({ name, inFeatures, outFeatures });
  const linears = [
    linear("self_attn.q_proj", hidden, hidden),
    linear("self_attn.k_proj", hidden, keyValue),
    linear("self_attn.v_proj", hidden, keyValue),
    linear("self_attn.o_proj", hidden, hidden),
    linear("mlp.gate_proj", hidden, ffn),
    linear("mlp.up_proj", hidden, ffn),
    linear("mlp.down_proj", ffn, hidden),
  ];
  return resolveGraph({
    model: name,
    location: name,
    architecture: "LlamaForCausalLM",
    hiddenSize: hidden,
    numParameters: parameters,
    contextLength: 4096,
    layers: Array.from({ length: layers }, (_, index) => ({ path: `model.layers.${index}`, linears })),
  });
};

const counts = [1, 2, 4, 8, 16, 32, 64];

/** Seconds of a step: the slowest rank's products, what of it the others wait, and the exchange. */
const stepSeconds = (graph: ModelGraph, trainable: number, { count, ...tokens }: RankShare) => {
  const aToken = (2 * graph.numParameters) / (hardware.flops * hardware.reached);
  // Forward, backward to the inputs alone (the base is frozen), layers computed again, and the pass for f.
  const compute = aToken * (3 * tokens.slowest + tokens.slowestPrompt);
  const even = aToken * (3 * tokens.mean + tokens.meanPrompt);
  const bus = count <= hardware.gpusOfNode ? hardware.bytesInside : hardware.bytesBetween;
  const turns = 2 * (count - 1);
  // Two small exchanges (the counts of f, who failed) and the gradients.
  const exchange = (turns / count) * ((4 * trainable) / bus) + 3 * turns * hardware.latency;
  return { compute, waits: compute - even, exchange };
};

const gigabytes = (bytes: number): string => (bytes / 1e9).toFixed(1);
const line = (cells: readonly (string | number)[]): string => `| ${cells.join(" | ")} |`;
const head = (cells: readonly string[]): readonly string[] => [line(cells), line(cells.map(() => "---"))];

/** Ranks over which a base in parts is listed, and the whole layers that one holds while a pass goes on. */
const parts = 8;
const layersAtWork = 4;

/** What a rank holds of a base in parts, as a share of it; embeddings and head stay whole. */
const shareOfBase = ({ layers, hidden, parameters }: Size): number => {
  const whole = 2 * vocabSize * hidden;
  return (whole + (parameters - whole) * (1 / parts + layersAtWork / layers)) / parameters;
};

const method = methodSchema.parse({ kind: "milora", rank });

const memoryRow = (size: Size): string => {
  const graph = graphOf(size);
  const { trainable } = resolveMethod(graph, method).count;
  const estimate = (quantization: "none" | "nf4") =>
    estimateMemory({
      graph,
      dtype: "bfloat16",
      quantization,
      trainable,
      vocabSize,
      batch: { rows: micro, length: 1024, answerTokens: micro * 256 },
      gradientCheckpointing: true,
      eager: false,
    });
  const { base, trainables, activations, logits, total } = estimate("none");
  const nf4 = estimate("nf4");
  const part = base * shareOfBase(size);
  const fits = (bytes: number): string => (bytes < hardware.memory ? "fits" : "does not fit");
  return line([
    size.name,
    `${(trainable / 1e6).toFixed(1)} M`,
    gigabytes(base),
    gigabytes(trainables),
    gigabytes(activations + logits),
    `${gigabytes(total)} (${fits(total)})`,
    `${gigabytes(nf4.total)} (${fits(nf4.total)})`,
    gigabytes(part),
    `${gigabytes(total - base + part)} (${fits(total - base + part)})`,
    `${((4 * trainable) / 1e6).toFixed(0)} MB`,
  ]);
};

const efficiencyRow = (size: Size, shares: readonly RankShare[]): string => {
  const graph = graphOf(size);
  const { trainable } = resolveMethod(graph, method).count;
  const [alone, ...others] = shares.map((each) => ({ count: each.count, ...stepSeconds(graph, trainable, each) }));
  if (alone === undefined) throw new Error("no counts of ranks");
  const cells = others.map(({ count, compute, waits, exchange }) => {
    const total = compute + exchange + hardware.call;
    const percent = (part: number): string => ((100 * part) / total).toFixed(0);
    return `${((100 * alone.compute) / (count * total)).toFixed(0)} % (${percent(waits)}, ${percent(exchange)})`;
  });
  return line([size.name, `${alone.compute.toFixed(1)} s`, ...cells]);
};

const { shares } = await drawSteps({ counts, steps, rows: batch, micro, seed: 1 });
const text = [
  "# Capacity: Llama-2 on many GPUs, on paper",
  "",
  "Made by `npx tsx scripts/capacity.ts`: arithmetic and a simulation, no measurement. `npx tsx scripts/rank-capacity.ts` holds it against 1, 2 and 4 ranks of a CPU, and `npx tsx scripts/rank-overhead.ts` measures what a call through Ray adds ([Ranks](../ranks.md#what-it-costs)).",
  "",
  "## Assumptions",
  "",
  `- MiLoRA of rank ${rank} on all seven modules, bf16 base, float32 trainables (16 bytes a number), gradient checkpointing; every rank holds the whole base (\`strategy: replicate\`), in the last two columns of the first table a part of its layers and ${layersAtWork} whole ones at work (\`shard\`).`,
  `- ${batch} rows a step over all ranks, at most ${micro} at once on a rank. Rows of log-normal length about 130 tokens, cut at 1024, a quarter of each the answer; dealt by the program itself (scripts/lib/rank_shares.py); mean of ${steps} drawn steps.`,
  "- A step's products: 2 P FLOP a token for forward, backward (to inputs alone) and the layers computed again, and for the pass over the prompts that counts f; padding counts. Attention's own products, the head's, the optimiser's and the adapters' are left out.",
  `- A GPU: 80 GB, ${hardware.flops / 1e12} TFLOP/s in bf16, of which ${100 * hardware.reached} % are reached. An exchange moves 2 (n − 1) / n of its bytes through each rank, at ${hardware.bytesInside / 1e9} GB/s inside a node of ${hardware.gpusOfNode} and ${hardware.bytesBetween / 1e9} GB/s between nodes, and takes ${hardware.latency * 1e6} µs a turn; nothing of it is hidden behind products. ${hardware.call * 1e3} ms a step for the call through Ray.`,
  "",
  "## Memory of a rank, in GB, and bytes exchanged a step",
  "",
  "Of the longest micro-batch that is allowed: all its rows 1024 tokens long. Libraries' own memory comes on top.",
  "",
  ...head([
    "model",
    "trained",
    "base",
    "trained, moments",
    "activations, logits",
    "all",
    "all, base in NF4",
    `base in ${parts} parts`,
    `all, base in ${parts} parts`,
    "gradients a step",
  ]),
  ...sizes.map(memoryRow),
  "",
  "## Efficiency, the same global batch at every number of ranks",
  "",
  "One GPU: seconds a step. Others: the speed-up over the number of GPUs; in brackets, in % of the step's time, what the mean rank waits for the slowest, and the exchange.",
  "",
  ...head(["model", ...counts.map((count) => (count === 1 ? "1 GPU" : `${count} GPUs`))]),
  ...sizes.map((size) => efficiencyRow(size, shares)),
  "",
  "A model that does not fit one GPU is listed as if it did: its efficiency is that of a base in NF4 at the same speed of products.",
  "",
];
process.stdout.write(text.join("\n"));
