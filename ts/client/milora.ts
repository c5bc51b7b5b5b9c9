import type { z } from "zod";
import type { DecodeBenchResult } from "../bench/decode.js";
import type { TenantBenchResult } from "../bench/tenants.js";
import type { LossCurves, TrainBenchRow } from "../bench/train.js";
import type { GeneratedText } from "../generate/generate-texts.js";
import { openTextEngine, type EngineOptions, type StreamRequest, type TextEngine } from "../generate/text-engine.js";
import type { ModelGraph } from "../graph/model-graph.js";
import type { ParameterCount } from "../graph/parameter-count.js";
import { resolveMethod } from "../methods/registry.js";
import type { RoutingFigures } from "../runs/routing-record.js";
import { methodSchema } from "../spec/method.js";
import { parseWith } from "../spec/parse.js";
import { withPreset } from "../spec/presets.js";
import type { TrainEstimate } from "../train/dry-run.js";
import type { TrainRun } from "../train/run-handle.js";
import type { Trainer } from "../train/trainer.js";
import { AdapterNames } from "./adapter-names.js";
import type {
  Evaluated,
  EvaluateOptions,
  GenerateOptions,
  GenerateRequest,
  RoutingOptions,
  TrainOptions,
} from "./call-options.js";
import {
  benchDecodeOn,
  benchTenantsOn,
  benchTrainOn,
  lossCurvesOn,
  type DecodeBenchOptions,
  type LossCurveOptions,
  type TenantBenchOptions,
  type TrainBenchOptions,
} from "./bench.js";
import { openEngine } from "./engine.js";
import { evaluateOn, tasksOf } from "./evaluate.js";
import { generateForTenants } from "./generate.js";
import { openOptionsSchema, type OpenOptions, type TrainInput } from "./options.js";
import { resultRecord } from "./result-record.js";
import { routingFigures } from "./routing.js";
import { createModelSession, type ModelSession, type Placement, type SessionHooks } from "./session.js";
import { SessionStreams, type ChunkStream } from "./stream.js";
import { estimateOn, trainerOn, trainOn } from "./training.js";
import { exportLora, importLora, type ExportOptions, type ImportOptions, type UpcyclingResult } from "./upcycling.js";

type MethodInput = z.input<typeof methodSchema>;

/** One checkpoint in one Python session: train, evaluate, generate. Made by {@link openMilora}. */
export class Milora {
  readonly #options: OpenOptions;
  readonly #session: ModelSession;
  readonly #streams: SessionStreams;
  #adapters: AdapterNames | undefined;

  constructor(options: OpenOptions, hooks: SessionHooks) {
    this.#options = options;
    this.#session = createModelSession(options, hooks);
    this.#streams = new SessionStreams({
      openEngine: async () => openTextEngine(await this.#session.backend()),
      names: async () => this.#names(),
    });
  }

  get #opened() {
    return { session: this.#session, settings: this.#options };
  }

  async #names(): Promise<AdapterNames> {
    await this.#session.opened();
    const backend = await this.#session.backend();
    this.#adapters ??= new AdapterNames(backend);
    return this.#adapters;
  }

  /** The model's layers and the modules in each that can be experts. */
  async graph(method: MethodInput = { kind: "milora" }): Promise<ModelGraph> {
    return this.#session.graph(parseWith(methodSchema, withPreset(method), { what: "The method" }));
  }

  /** Counts what a method trains and activates on this model; reads its config only, no weights. */
  async params(method: MethodInput): Promise<ParameterCount> {
    const parsed = parseWith(methodSchema, withPreset(method), { what: "The method" });
    return resolveMethod(await this.#session.graph(parsed), parsed).count;
  }

  /**
   * Fine-tunes the model. The run goes on by itself; its handle is an async iterable of events, with `stop`
   * and `result`.
   */
  train(spec: TrainInput, options: TrainOptions = {}): TrainRun {
    return trainOn(this.#opened, spec, options);
  }

  /** A trainer to own the loop with: the same spec as `train`; nothing has run yet. */
  async trainer(spec: TrainInput): Promise<Trainer> {
    return trainerOn(this.#opened, spec);
  }

  /** What `train` with this spec would take: parameters, memory, steps, time; by arithmetic and a trial of two steps. */
  async estimate(spec: TrainInput): Promise<TrainEstimate> {
    return estimateOn(this.#opened, spec);
  }

  /** Loads an adapter folder under a tenant's name; a name that is taken gets the new adapter. */
  async load(name: string, folder: string): Promise<void> {
    await (await this.#names()).load(name, folder);
    await this.#streams.tidy();
  }

  /** Forgets a loaded adapter. Errors: `adapter/not-found`. */
  async unload(name: string): Promise<void> {
    await (await this.#names()).unload(name);
    await this.#streams.tidy();
  }

  /** Calls `work` with the inner name of a loaded adapter, or of a folder's that is loaded just for it. */
  async #withAdapter<Result>(
    adapter: string | undefined,
    work: (inner: string | null) => Promise<Result>,
  ): Promise<Result> {
    const names = await this.#names();
    if (adapter === undefined || names.names.includes(adapter)) return work(names.inner(adapter));
    await names.load(adapter, adapter);
    try {
      return await work(names.inner(adapter));
    } finally {
      await names.unload(adapter);
    }
  }

  /** Scores the model, or an adapter on it, on tasks. */
  async evaluate(options: EvaluateOptions): Promise<Evaluated> {
    const tasks = tasksOf(options);
    const { model, seed, quantization } = this.#options;
    const folder = (await this.#names()).folder(options.adapter);
    const record = await resultRecord(this.#session, { model, seed, quantization, adapter: folder });
    return this.#withAdapter(options.adapter, async (adapter) =>
      evaluateOn(this.#session, { ...options, tasks, adapter, record }),
    );
  }

  /**
   * Generates a text a request. Requests of several tenants may be mixed; they share one batch where the engine runs
   * their methods.
   */
  async generate(
    requests: readonly GenerateRequest[],
    options: GenerateOptions = {},
  ): Promise<readonly GeneratedText[]> {
    const names = await this.#names();
    return generateForTenants(await this.#session.backend(), names, { ...options, requests });
  }

  /**
   * A text in chunks, while it is written; those that are asked for at the same time share a batch. A reader that stops
   * early ends its text, and so does an abort of `signal`, with code `cancelled`. For as long as one is under way,
   * `engine` opens no other.
   */
  stream(request: StreamRequest, options: { readonly signal?: AbortSignal | undefined } = {}): ChunkStream {
    return this.#streams.stream(request, options.signal);
  }

  /**
   * The multi-tenant engine: texts of many tenants written in one batch, each a stream. It begins with the adapters
   * that are loaded now; one engine at a time, until its `close`, and no `stream` meanwhile.
   */
  async engine(options: EngineOptions = {}): Promise<TextEngine> {
    await this.#streams.release();
    const names = await this.#names();
    return openEngine(await this.#session.backend(), names, options);
  }

  /** How an adapter's routers spread over the experts, for each task's prompts (the paper's Figure 2). */
  async routing(options: RoutingOptions): Promise<readonly RoutingFigures[]> {
    return this.#withAdapter(options.adapter, async (adapter) =>
      routingFigures({
        ...options,
        backend: await this.#session.backend(),
        adapter,
        hub: this.#session.hub(options.signal),
      }),
    );
  }

  /** A PEFT LoRA adapter's modules as the experts of a MiLoRA adapter with new routers. */
  async importLora(options: ImportOptions): Promise<UpcyclingResult> {
    return importLora(this.#session, options);
  }

  /** A MiLoRA adapter whose choice no prompt changes, as a plain PEFT LoRA adapter. */
  async exportLora(options: ExportOptions): Promise<UpcyclingResult> {
    return exportLora(this.#session, options);
  }

  /** Times our training steps against transformers' Trainer with PEFT's LoRA, on made-up rows. */
  async benchTrain(options: TrainBenchOptions): Promise<readonly TrainBenchRow[]> {
    return benchTrainOn(this.#session, options);
  }

  /** Times the text of one prompt by each method, beside the bare base. */
  async benchDecode(options: DecodeBenchOptions): Promise<DecodeBenchResult> {
    return benchDecodeOn(this.#session, options);
  }

  /** Times batches of many tenants, beside the base at the same batch and PEFT's `adapter_names`. */
  async benchTenants(options: TenantBenchOptions): Promise<TenantBenchResult> {
    return benchTenantsOn(this.#session, options);
  }

  /** The losses of LoRA, step by step, by our training and by transformers' Trainer. */
  async lossCurves(options: LossCurveOptions): Promise<LossCurves> {
    return lossCurvesOn(this.#session, options);
  }

  /** Where and how the model runs, and in a sentence why. */
  async placement(): Promise<Placement> {
    const { device, dtype, attention, reason } = await this.#session.opened();
    return { device, dtype, attention, reason };
  }

  /** A Python module as a raw pythonia proxy: await each step, hold no tensors. */
  async python(module: string) {
    return (await this.#session.backend()).session.python(module);
  }

  /** Keeps a raw Python object on the Python side and returns its id, for specs and `expose`. */
  async adopt(proxy: unknown): Promise<string> {
    return (await this.#session.backend()).session.adopt(proxy);
  }

  /** The raw proxy of an adopted object. */
  async expose(id: string) {
    return (await this.#session.backend()).session.expose(id);
  }

  /** Lets go of an adopted object. */
  async release(id: string): Promise<void> {
    await (await this.#session.backend()).session.release(id);
  }

  /** Ends Python; what runs is ended with it. */
  async close(): Promise<void> {
    await this.#session.close();
  }

  /** `close`, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** What {@link openMilora} takes; all but `model` has a default. */
export type OpenMiloraOptions = z.input<typeof openOptionsSchema>;

/**
 * Opens a session for one checkpoint. Python is set up on first use if need be; the model is loaded when it is
 * first needed.
 * @throws MiloraError `input/invalid-spec` for wrong options.
 */
export const openMilora = async (options: OpenMiloraOptions, hooks: SessionHooks = {}): Promise<Milora> =>
  new Milora(parseWith(openOptionsSchema, options, { what: "The options of openMilora" }), hooks);
