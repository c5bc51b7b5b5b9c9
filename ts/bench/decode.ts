import { resolve } from "node:path";
import type { z } from "zod";
import type { benchOps, decodeBenchRow } from "../backend/bench-ops.js";
import { resolveMethod } from "../methods/registry.js";
import { callOptions, methodWith, type BenchCall } from "./bench-call.js";

/** One method with so many beams in one engine. */
export type DecodeBenchRow = z.output<typeof decodeBenchRow>;

export interface DecodeBenchResult {
  readonly rows: readonly DecodeBenchRow[];
  /** Why the engine runs this model through transformers' forward pass; null: it runs fused. */
  readonly slowBecause: string | null;
}

/** What a text is made of and how often it is measured; {@link benchOps} says what each bounds. */
export interface TextSizes {
  readonly promptTokens: number;
  readonly newTokens: number;
  readonly rounds: number;
  readonly rowSeconds: number;
}

export interface BenchDecodeOptions extends BenchCall, TextSizes {
  /** Kinds of methods, and `base` and `dora-uncached`; the base is measured in any case. */
  readonly methods: readonly string[];
  /** Folders of trained adapters, measured beside the made-up ones. */
  readonly adapters?: readonly string[] | undefined;
  /** Active experts of `milora`, a row each. */
  readonly topK: readonly number[];
  readonly beams: readonly number[];
  /** `hf`: each row also through transformers' `generate`. */
  readonly peer?: "hf" | undefined;
  /** Each row of our engine also with its decode step compiled. */
  readonly compile?: boolean | undefined;
  /** Whether memory is measured, in a process for each row. */
  readonly peak: boolean;
}

type PlannedMethod = z.input<typeof benchOps.benchDecode.input>["methods"][number];

const routedKinds: ReadonlySet<string> = new Set(["milora", "midora"]);

/** A method with its default settings as the backend takes it; `topK` in place of the default, where it routes. */
export const planMethod = async (
  graphOf: BenchCall["graphOf"],
  { kind, topK }: { readonly kind: string; readonly topK?: number | undefined },
): Promise<PlannedMethod> => {
  const isUncached = kind === "dora-uncached";
  const method = methodWith({ kind: isUncached ? "dora" : kind, ...(topK === undefined ? {} : { topK }) });
  const { config } = resolveMethod(await graphOf(method), method);
  const active = routedKinds.has(kind) && "topK" in method ? method.topK : null;
  return { method: kind, topK: active, config: { ...config }, cachesNorms: !isUncached };
};

/**
 * Measures how fast one prompt's text is written by each method, with its default settings and made-up weights, beside
 * the bare base: in the engine, and where the engine does not run a method in transformers' `generate`.
 */
export const benchDecode = async (options: BenchDecodeOptions): Promise<DecodeBenchResult> => {
  const { backend, graphOf, beams, peer, peak, promptTokens, newTokens, rounds, rowSeconds } = options;
  const methods: PlannedMethod[] = [];
  for (const kind of options.methods.filter((name) => name !== "base")) {
    const choices = kind === "milora" ? options.topK : [undefined];
    for (const topK of choices) methods.push(await planMethod(graphOf, { kind, topK }));
  }
  return backend.call(
    "benchDecode",
    {
      methods,
      adapters: (options.adapters ?? []).map((folder) => resolve(folder)),
      beams: [...beams],
      peer: peer === "hf",
      compile: options.compile,
      peak,
      promptTokens,
      newTokens,
      rounds,
      rowSeconds,
    },
    callOptions(options),
  );
};
