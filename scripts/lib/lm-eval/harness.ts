import { execa } from "execa";
import { join } from "node:path";
import { z } from "zod";
import { packageRoot, pythonRoot } from "../../../ts/bridge/environment/index.js";

const script = join(packageRoot, "test", "fixtures", "python", "lm_eval_rows.py");

const request = z.object({
  prompt: z.string(),
  choices: z.array(z.string()).optional(),
  /** Of generation. */
  settings: z.looseObject({ until: z.array(z.string()) }).optional(),
});
const likelihoods = z.object({
  values: z.array(z.number()),
  greedy: z.array(z.boolean()),
  /** False where prompt and choice together have other tokens than apart. */
  sameTokens: z.array(z.boolean()),
});
/** By filter: what it read from each of a row's responses, and the metrics. */
const metrics = z.record(
  z.string(),
  z.object({ readings: z.array(z.json()), metrics: z.record(z.string(), z.number()) }),
);

export type HarnessRequest = z.infer<typeof request>;
export type HarnessLikelihoods = z.infer<typeof likelihoods>;
export type HarnessMetrics = z.infer<typeof metrics>;

/** A task of the harness over the raw files of a data folder. */
export interface HarnessTask {
  readonly task: string;
  readonly dir: string;
  readonly limit: number;
  /** Fields of its YAML file that are set anew. */
  readonly changes: Readonly<Record<string, unknown>>;
}

export interface ChoiceRow {
  readonly prompt: string;
  readonly choices: readonly string[];
}

/** lm-evaluation-harness in a Python of its own. */
export interface Harness extends AsyncDisposable {
  /** What its own task asks, row by row. */
  readonly requests: (task: HarnessTask) => Promise<readonly HarnessRequest[]>;
  readonly likelihoods: (rows: readonly ChoiceRow[], batch: number) => Promise<readonly HarnessLikelihoods[]>;
  /** What the model writes; `settings` are the harness' own, such as `until` and `max_gen_toks`. */
  readonly texts: (
    prompts: readonly string[],
    options: { readonly settings: object; readonly batch: number },
  ) => Promise<readonly string[]>;
  /** What its own task makes of a model's responses; `responses`: of each row's requests, in their order. */
  readonly metrics: (
    task: HarnessTask,
    responses: readonly (readonly unknown[])[],
  ) => Promise<readonly HarnessMetrics[]>;
  /** How far apart, in nats, the model sees the two tokens at which two texts part; null where they don't. */
  readonly gap: (prompt: string, texts: readonly [string, string]) => Promise<number | null>;
}

/**
 * Starts the harness: its model `hf` in float32, or the model `milora` for an adapter.
 * `base`: the checkpoint's folder. Errors: execa's, with the end of Python's messages, where Python ends.
 */
export const openHarness = (options: {
  readonly python: string;
  readonly base: string;
  readonly adapter?: string | undefined;
}): Harness => {
  const { python, base, adapter } = options;
  const child = execa(python, [script, base, ...(adapter === undefined ? [] : [adapter])], {
    env: { PYTHONPATH: pythonRoot, HF_HUB_OFFLINE: "1", HF_DATASETS_OFFLINE: "1", TRANSFORMERS_VERBOSITY: "error" },
    stdin: "pipe",
    buffer: { stdout: false },
  });
  const lines = child.iterable();
  const ask = async <Reply>(message: object, reply: z.ZodType<Reply>): Promise<Reply> => {
    child.stdin.write(`${JSON.stringify(message)}\n`);
    const { value } = await lines.next();
    return reply.parse(JSON.parse(value ?? "null"));
  };
  return {
    requests: async (task) => ask({ do: "requests", ...task }, z.array(request)),
    likelihoods: async (rows, batch) => ask({ do: "likelihoods", rows, batch }, z.array(likelihoods)),
    texts: async (prompts, more) => ask({ do: "texts", prompts, ...more }, z.array(z.string())),
    metrics: async (task, responses) => ask({ do: "metrics", ...task, responses }, z.array(metrics)),
    gap: async (prompt, texts) => ask({ do: "gap", prompt, texts }, z.number().nullable()),
    [Symbol.asyncDispose]: async () => {
      child.stdin.end();
      // The last of the lines comes when Python has ended.
      await lines.next();
    },
  };
};
