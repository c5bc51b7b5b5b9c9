import { z } from "zod";
import { MiloraError } from "../../errors.js";
import { parseWith } from "../../spec/parse.js";

/** A judging, checked and with its defaults; `judge` takes it. */
export const judgeOptionsSchema = z.strictObject({
  /** Files of `milora eval --outputs`, or run folders; `name=path` names a method. */
  results: z.array(z.string().min(1)).min(1),
  /** An OpenAI-compatible endpoint, with or without `/chat/completions` at its end. */
  endpoint: z.string().min(1),
  /** The judge's name at the endpoint. */
  judgeModel: z.string().min(1),
  mode: z.enum(["single", "pairwise"]).default("single"),
  /** Judgements of the same answers. */
  judgements: z.int().min(1).max(100).default(1),
  /** The environment variable that holds the key; without it no key is sent. */
  apiKeyEnv: z.string().min(1).optional(),
  /** More fields of a request's body, over our own; null leaves a field out. */
  request: z.record(z.string(), z.json()).default({}),
  concurrency: z.int().min(1).max(64).default(4),
  /** Attempts after a failed first. */
  retries: z.int().min(0).max(20).default(5),
  /** Seconds until an attempt counts as failed. */
  timeout: z.number().positive().max(300).default(120),
  /** Seconds that an endpoint may ask to wait. */
  longestWait: z.number().positive().max(3600).default(120),
  /** Seconds before the first retry. */
  firstWait: z.number().positive().max(60).default(1),
  /** Prices of a million tokens, in any currency. */
  priceIn: z.number().nonnegative().optional(),
  priceOut: z.number().nonnegative().optional(),
  /** What this call may spend at most, in the prices' currency. */
  budget: z.number().positive().optional(),
  /** The file of reviews; by default beside the first result. */
  out: z.string().min(1).optional(),
});

/** What is judged, by whom, and what it may cost. */
export type JudgeOptionsInput = z.input<typeof judgeOptionsSchema>;
export type JudgeSettings = z.output<typeof judgeOptionsSchema>;

const ownFields = ["model", "messages", "stream", "n"] as const;

/** Checks the options and fills their defaults. Errors: `input/invalid-spec`. */
export const judgeSettings = (options: JudgeOptionsInput): JudgeSettings => {
  const settings = parseWith(judgeOptionsSchema, options, { what: "The options of judge" });
  const own = ownFields.find((field) => field in settings.request);
  if (own !== undefined) {
    throw new MiloraError("input/invalid-spec", `request.${own}: this field of a request is milora's own.`, {
      path: `request.${own}`,
      allowed: "any field but " + ownFields.join(", "),
    });
  }
  if (settings.budget !== undefined && (settings.priceIn === undefined || settings.priceOut === undefined)) {
    throw new MiloraError("input/invalid-spec", "A budget needs the prices of a million tokens, in and out.", {
      path: "budget",
      hint: "Give --price-in and --price-out.",
    });
  }
  return settings;
};

/** The fields of each request beside its messages. */
export const requestBody = ({ judgeModel, request }: JudgeSettings): Readonly<Record<string, unknown>> => {
  const fields = { model: judgeModel, temperature: 0, max_tokens: 1024, ...request };
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null));
};

/** The most tokens of an answer. Errors: `input/invalid-spec` where the request has no bound. */
export const outputBound = (body: Readonly<Record<string, unknown>>): number => {
  const bound = body["max_completion_tokens"] ?? body["max_tokens"];
  if (typeof bound === "number" && Number.isInteger(bound) && bound > 0) return bound;
  throw new MiloraError("input/invalid-spec", "The requests have no bound to their answers, so none to their cost.", {
    path: "request.max_tokens",
    allowed: "a whole number in max_tokens or max_completion_tokens",
  });
};

/** The key in an environment variable. Errors: `input/invalid-spec` where there is none; it never holds the key. */
export const readApiKey = (
  name: string | undefined,
  environment: Readonly<Record<string, string | undefined>> = process.env,
): string | undefined => {
  if (name === undefined) return undefined;
  const key = environment[name]?.trim() ?? "";
  if (/^[\u0021-\u007E]+$/.test(key)) return key;
  const found = key === "" ? "is not set" : "holds characters that no key has";
  throw new MiloraError("input/invalid-spec", `The environment variable ${name} ${found}.`, {
    path: "apiKeyEnv",
    hint: `Put the endpoint's key into ${name}.`,
  });
};
