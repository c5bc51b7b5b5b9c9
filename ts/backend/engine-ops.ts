import { z } from "zod";
import { errorCodes } from "../errors.js";
import { adapterName, adapterOrNull, asked, count, explained, routingChange } from "./fields.js";

/** How tokens are drawn; as in transformers: repetition penalty, temperature, top-k, top-p. */
const sampling = z.object({
  /** 0 takes the most probable token. */
  temperature: z.number().nonnegative().default(0),
  /** 0 = all tokens. */
  topK: count.default(0),
  topP: z.number().positive().max(1).default(1),
  repetitionPenalty: z.number().min(0.01).default(1),
  /** The same seed draws the same tokens, whatever else runs. */
  seed: count.default(0),
});

/** What happened to a request since the last call; `text` and `newTokens` are what is new. */
const engineEvent = z.object({
  request: count,
  text: z.string(),
  newTokens: count,
  /** The request's end, with all that it generated. */
  end: z
    .object({
      finish: z.enum(["stop", "length", "aborted", "error"]),
      text: z.string(),
      newTokens: count,
      error: z
        .object({
          code: z.enum(errorCodes),
          message: z.string(),
          details: z.object({ found: z.string().optional(), hint: z.string().optional() }),
        })
        .nullable(),
      routing: explained,
      /** null for a request that ended before its first token. */
      seconds: z
        .object({
          /** From the request to its admission. */
          queued: z.number().nonnegative(),
          /** From there until the prompt was computed. */
          prefill: z.number().nonnegative(),
          /** From the request to its first token; with beams all tokens come at the end. */
          firstToken: z.number().nonnegative(),
        })
        .nullable(),
    })
    .nullable(),
});

const engineAdapter = z.object({
  /** The tenant's name. */
  name: adapterName,
  /** The number of the load that brought it, from 1. */
  version: count.min(1),
  /** Its memory on the device, bytes. */
  bytes: count,
  /** On the device now. */
  resident: z.boolean(),
  /** It stays on the device. */
  pinned: z.boolean(),
  /** Requests that wait or run with it. */
  requests: count,
  /** Its name is gone or another's: it goes with its last request. */
  unloading: z.boolean(),
});

/** The multi-tenant engine: requests of many adapters in one batch. Its adapters are its own, apart from `loadAdapter`'s. */
export const engineOps = {
  /** Makes the engine of the open model; one at a time. */
  engineOpen: {
    input: z.object({
      /** Rows that decode together, beams counted. */
      maxRows: count.min(1).default(64),
      /** Tokens that the KV cache has room for: rows times the longest row, which counts in steps of 128. */
      maxTokens: count.min(128).default(65_536),
      /** Prompt tokens that one step computes, unless a single prompt is longer. */
      prefillTokens: count.min(1).default(2048),
      /**
       * What adapters may take on the device: bytes, or a share of what is free now. The least recently used that have no
       * requests move to host memory, on a CPU to a temporary file, until a request wants them. null = no bound on a CPU,
       * half of what is free on an accelerator.
       */
      adapterMemory: z
        .union([count.min(1), z.object({ share: z.number().positive().max(1) })])
        .nullable()
        .default(null),
      /**
       * Compiles the decode step with torch.compile (CPU), or records it as a CUDA graph; the texts are the same. Errors:
       * `environment/missing-package` without a C++ compiler; `model/unsupported` for a decoder that does not run fused.
       */
      compile: z.boolean().default(false),
    }),
    output: z.object({
      /** Why the decoder runs through transformers' forward pass, row by row; null: it runs fused. */
      slowBecause: z.string().nullable(),
    }),
  },
  /** Loads an adapter folder; a name that is taken gets the new one, and requests under way keep the old one. */
  engineLoad: {
    input: z.object({
      adapter: adapterName,
      folder: z.string(),
      /** Once on the device it stays there. */
      pinned: z.boolean().default(false),
    }),
    output: z.object({ bytes: count }),
  },
  /** The loaded adapters, and earlier versions that requests under way still have. */
  engineAdapters: { input: z.object({}), output: z.object({ adapters: z.array(engineAdapter) }) },
  /** What the engine has made so far. */
  engineStatistics: {
    input: z.object({}),
    output: z.object({
      /** What the KV cache takes now. */
      cacheBytes: count,
      /** How often it has taken another shape. */
      cacheGrowths: count,
      /** With `compile`, graphs of decode steps: on a CPU for the open model so far, on CUDA by this engine. */
      compilations: count,
      /** How long they took. */
      compileSeconds: z.number().nonnegative(),
    }),
  },
  /** Forgets an adapter; requests under way end with it. */
  engineUnload: { input: z.object({ adapter: adapterName }), output: z.object({}) },
  /** Puts a request in line; nothing is computed. */
  engineSubmit: {
    input: z.object({
      adapter: adapterOrNull,
      ...asked,
      maxNewTokens: count.min(1).default(128),
      beams: count.min(1).default(1),
      /** Texts that end the answer where they begin. */
      stop: z.array(z.string().min(1)).default([]),
      sampling: sampling.prefault({}),
      ...routingChange,
      explain: z.boolean().default(false),
    }),
    output: z.object({ request: count, promptTokens: count }),
  },
  /**
   * Ends the requests in `abort`, then computes up to `maxSteps` tokens of every other. Where it fails, every request
   * has ended with it; the adapters stay.
   */
  engineStep: {
    input: z.object({ maxSteps: count.min(1).default(8), abort: z.array(count).default([]) }),
    output: z.object({ events: z.array(engineEvent) }),
  },
  /** Lets go of the engine, its requests and its adapters. */
  engineClose: { input: z.object({}), output: z.object({}) },
} as const;
