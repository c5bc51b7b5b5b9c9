import { z } from "zod";
import { errorCodes } from "../errors.js";
import { adapterName, adapterOrNull, asked, count } from "./fields.js";

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
    })
    .nullable(),
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
    }),
    output: z.object({
      /** Why the decoder runs through transformers' forward pass, row by row; null: it runs fused. */
      slowBecause: z.string().nullable(),
    }),
  },
  /** Loads an adapter folder; a name that is taken gets the new one, and requests under way keep the old one. */
  engineLoad: {
    input: z.object({ adapter: adapterName, folder: z.string() }),
    output: z.object({ bytes: count }),
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
      /** Fewer active experts than the adapter was trained with; null = its own k. */
      topK: count.min(1).nullable().default(null),
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
