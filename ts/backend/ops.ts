import { z } from "zod";
import { scaleSchema } from "../spec/scale.js";
import { benchOps } from "./bench-ops.js";
import { engineOps } from "./engine-ops.js";
import { adapterName, adapterOrNull, asked, count, explained, routingChange, rowIndices } from "./fields.js";
import { rayOps } from "./ray-ops.js";
import { trainingOps } from "./training-ops.js";

/**
 * The operations of the Python side: name → schemas of input and output.
 * Rows of a loaded data set are named by their index; losses are in nats; "answer tokens" include the end token.
 */

/** How often each expert came first, and how often it was chosen: counts, `[layer][expert]`, over `prompts` prompts. */
const routingCounts = z.object({
  experts: z.array(z.string()),
  argmax: z.array(z.array(count)),
  chosen: z.array(z.array(count)),
  prompts: count,
  /** Balance loss over all these prompts, mean over layers (1 = even, number of experts = collapsed); null: no routers. */
  balance: z.number().nullable(),
});

const linear = z.object({
  /** Path inside the layer, such as `self_attn.q_proj`. */
  name: z.string(),
  inFeatures: count,
  outFeatures: count,
  bias: z.boolean(),
});

/** A decoder as its config describes it; no weights were read. */
export const modelDescription = z.object({
  model: z.string(),
  /** What transformers' `from_pretrained` takes: a hub id or an absolute folder. */
  location: z.string(),
  architecture: z.string(),
  modelType: z.string(),
  hiddenSize: count,
  numParameters: count,
  vocabSize: count,
  contextLength: count.nullable(),
  layers: z.array(z.object({ path: z.string(), linears: z.array(linear) })),
  /** Linear modules outside the decoder layers, full paths (the head, for instance). */
  otherLinears: z.array(z.string()),
});

const generated = z.object({
  text: z.string(),
  promptTokens: count,
  newTokens: count,
  finish: z.enum(["stop", "length"]),
  routing: explained,
  /** The prompt was cut at its start, with `cutPrompts`. */
  truncated: z.boolean().optional(),
});

export const ops = {
  hello: {
    input: z.object({}),
    output: z.object({
      python: z.string(),
      torch: z.string(),
      transformers: z.string(),
      peft: z.string(),
      platform: z.string(),
      pid: count,
      devices: z.array(z.object({ type: z.string(), name: z.string(), memoryBytes: count })),
    }),
  },
  describeModel: {
    /** A hub id, a folder, a `.gguf` file, or `smollm2-135m`. */
    input: z.object({ model: z.string().min(1) }),
    output: modelDescription,
  },
  openModel: {
    input: z.object({
      model: z.string().min(1),
      device: z.string().default("auto"),
      dtype: z.enum(["auto", "float32", "bfloat16", "float16"]).default("auto"),
      attention: z.enum(["auto", "eager", "sdpa"]).default("auto"),
      /** The frozen linear modules in 4 or 8 bits, by bitsandbytes. */
      quantization: z.enum(["none", "nf4", "int8"]).default("none"),
      seed: count.default(0),
      /** The ranks that the model is opened on, by Ray; null: this process. What follows runs on all of them. */
      scale: scaleSchema.nullable().default(null),
    }),
    output: z.object({
      model: z.string(),
      device: z.string(),
      dtype: z.string(),
      attention: z.string(),
      numParameters: count,
      contextLength: count.nullable(),
      hasChatTemplate: z.boolean(),
      /** Why this device and dtype were taken, one sentence. */
      reason: z.string(),
    }),
  },
  closeModel: { input: z.object({}), output: z.object({}) },
  loadRows: {
    input: z.object({
      name: z.string().min(1),
      /** JSONL, a row a line: `{prompt, answer}` or `{messages}` whose last message is the assistant's answer. */
      file: z.string(),
      /** `chat`: the prompt is put into the checkpoint's chat template as one user message. */
      format: z.enum(["plain", "chat"]).default("plain"),
      maxLength: count.default(768),
    }),
    output: z.object({
      rows: count,
      /** Tokens of each row, prompt and answer apart, after truncation; 0 answer tokens = dropped. */
      promptTokens: z.array(count),
      answerTokens: z.array(count),
      /** Rows whose prompt was cut at its start so that the answer fits. */
      truncated: z.array(count),
      /** Rows whose answer alone is too long; they are never trained on. */
      dropped: z.array(count),
      /** Checksum of the token ids, for resume. */
      checksum: z.string(),
    }),
  },
  exportRows: {
    /** An adopted Python iterable of `{prompt, answer}` or `{messages}` mappings, written to a JSONL file. */
    input: z.object({ object: z.string(), file: z.string() }),
    output: z.object({ rows: count }),
  },
  fetchHubRows: {
    /** Columns of one split of a data set on the hub, written to a JSONL file; needs the Python package `datasets`. */
    input: z.object({
      id: z.string().min(1),
      /** null: the data set's default. */
      config: z.string().nullable().default(null),
      split: z.string().min(1),
      revision: z.string().min(1).default("main"),
      columns: z.array(z.string()).min(1),
      file: z.string(),
    }),
    output: z.object({
      rows: count,
      /** The commit that `revision` is; null where an offline cache does not tell. */
      commit: z.string().nullable(),
      /** The version of `datasets`. */
      datasets: z.string(),
    }),
  },
  attachAdapter: {
    input: z.object({
      adapter: adapterName,
      config: z.record(z.string(), z.json()),
      seed: count.default(0),
      /** A folder of an adapter with the same plan, whose weights it starts from. */
      warmStart: z.string().nullable().default(null),
      /** `router`: the experts stay as they are. */
      trains: z.enum(["all", "router"]).default("all"),
    }),
    output: z.object({ trainable: count, routerParameters: count, activationParameters: count }),
  },
  loadAdapter: {
    input: z.object({ adapter: adapterName, folder: z.string() }),
    output: z.object({ config: z.record(z.string(), z.json()), parameters: count }),
  },
  unloadAdapter: { input: z.object({ adapter: adapterName }), output: z.object({}) },
  saveAdapter: {
    input: z.object({ adapter: adapterName, folder: z.string() }),
    output: z.object({ bytes: count }),
  },
  /** Appends scalars to a folder's TensorBoard event file, by torch's writer; the file stays open until `close`. */
  writeScalars: {
    input: z.object({
      folder: z.string(),
      /** TensorBoard drops what an older file of the folder has from this step on; a run was resumed there. */
      purgeStep: count.nullable().default(null),
      scalars: z.array(z.object({ tag: z.string().min(1), step: count, value: z.number() })).default([]),
      close: z.boolean().default(false),
    }),
    output: z.object({}),
  },
  /** Teacher-forced loss of rows: sums, so that chunks add up. */
  dataLoss: {
    input: z.object({
      data: z.string(),
      rows: rowIndices,
      adapter: adapterOrNull,
      microBatch: count.min(1).default(16),
    }),
    output: z.object({ nll: z.number(), answerTokens: count, routing: routingCounts.nullable().default(null) }),
  },
  generate: {
    input: z.object({
      requests: z.array(z.object({ adapter: adapterOrNull, ...asked, ...routingChange })).min(1),
      maxNewTokens: count.min(1).default(128),
      beams: count.min(1).default(1),
      explain: z.boolean().default(false),
      /** Texts that the engine writes come from compiled steps; others are written as always. */
      compile: z.boolean().default(false),
      /** A prompt that leaves no room for the new tokens in the model's context is cut at its start, not refused. */
      cutPrompts: z.boolean().default(false),
    }),
    output: z.object({ outputs: z.array(generated) }),
  },
  /** What an adapter's routers decide for prompts; nothing is generated. */
  routePrompts: {
    input: z.object({
      adapter: adapterName,
      requests: z.array(z.object(asked)).min(1),
      /** Of so many requests, from the first on, the gates are given too. */
      explain: count.default(0),
      microBatch: count.min(1).default(32),
    }),
    /** `gates`: `[prompt][layer][expert]`, exactly 0 where an expert is not active. */
    output: routingCounts.extend({ gates: z.array(z.array(z.array(z.number()))) }),
  },
  /** Makes a MiLoRA adapter whose experts are a PEFT LoRA adapter's modules; routers are new, by the seed. */
  importLora: {
    input: z.object({
      folder: z.string(),
      out: z.string(),
      config: z.record(z.string(), z.json()),
      seed: count.default(0),
    }),
    output: z.object({ parameters: count }),
  },
  /** Writes a routed adapter as a plain PEFT LoRA adapter: `chosen` names each layer's active experts, by layer path. */
  exportLora: {
    input: z.object({
      folder: z.string(),
      out: z.string(),
      config: z.record(z.string(), z.json()),
      chosen: z.record(z.string(), z.array(z.string())),
    }),
    output: z.object({ parameters: count }),
  },
  /** Log-likelihood of each continuation after its prompt. */
  scoreChoices: {
    input: z.object({
      rows: z.array(z.object({ ...asked, choices: z.array(z.string()).min(1) })).min(1),
      adapter: adapterOrNull,
      microBatch: count.min(1).default(128),
    }),
    output: z.object({
      scores: z.array(z.array(z.object({ logLikelihood: z.number(), tokens: count }))),
      /** Rows whose prompt was cut at its start, so that the longest choice fits in the model's context. */
      truncated: z.array(count).optional(),
    }),
  },
  ...trainingOps,
  ...rayOps,
  ...engineOps,
  ...benchOps,
} as const;
