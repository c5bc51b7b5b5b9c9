import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { z } from "zod";
import { evaluate } from "../evaluate/evaluate.js";
import type { EvaluationResult } from "../evaluate/result.js";
import { generateTexts, type GeneratedText } from "../generate/generate-texts.js";
import type { ModelGraph } from "../graph/model-graph.js";
import type { ParameterCount } from "../graph/parameter-count.js";
import { resolveMethod } from "../methods/registry.js";
import type { TrainEvent } from "../runs/events.js";
import { methodSchema } from "../spec/method.js";
import { parseWith } from "../spec/parse.js";
import { withMethodPreset, withPreset } from "../spec/presets.js";
import { runSchema, type RunSpec } from "../spec/run.js";
import { taskByName } from "../tasks/registry.js";
import { scoredTemplate } from "../tasks/task.js";
import { createTrainer } from "../train/create-trainer.js";
import { fineTune } from "../train/fine-tune.js";
import { startRun, type TrainRun } from "../train/run-handle.js";
import type { Trainer } from "../train/trainer.js";
import { loadTrainingData, writeTrainingData } from "../train/training-data.js";
import { methodFromWarmStart } from "../train/warm-start.js";
import { AdapterNames } from "./adapter-names.js";
import type {
  EvaluateOptions,
  GenerateOptions,
  GenerateRequest,
  RoutingOptions,
  TrainOptions,
} from "./call-options.js";
import {
  openOptionsSchema,
  sessionRunSchema,
  type OpenOptions,
  type SessionRunInput,
  type TrainInput,
} from "./options.js";
import { routingFigures, type RoutingFigures } from "./routing.js";
import { createModelSession, type ModelSession, type SessionHooks } from "./session.js";
import { trainProgress } from "./train-progress.js";
import { exportLora, importLora, type ExportOptions, type ImportOptions, type UpcyclingResult } from "./upcycling.js";

type MethodInput = z.input<typeof methodSchema>;

const runName = (): string => `run-${new Date().toISOString().replaceAll(/[:.]/g, "-").slice(0, 19)}`;

/** One checkpoint in one Python session: train, evaluate, generate. Made by {@link openMilora}. */
export class Milora {
  readonly #options: OpenOptions;
  readonly #session: ModelSession;
  #adapters: AdapterNames | undefined;

  constructor(options: OpenOptions, hooks: SessionHooks) {
    this.#options = options;
    this.#session = createModelSession(options, hooks);
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

  #runSpec(spec: SessionRunInput): RunSpec {
    const { method, data, train } = parseWith(sessionRunSchema, withMethodPreset(spec), { what: "The spec" });
    const { device, dtype, attention } = this.#options;
    const session = { device, attention, dtype: dtype === "float16" ? "auto" : dtype } as const;
    return parseWith(
      runSchema,
      { model: this.#options.model, method, data, train: { ...train, ...session } },
      { what: "The spec" },
    );
  }

  /** Rows that a Python iterable holds are written to a file once; a spec names files. */
  async #withRowFile(spec: TrainInput): Promise<SessionRunInput> {
    if (!("python" in spec.data)) return { ...spec, data: spec.data };
    const { python, ...rest } = spec.data;
    const train = join(await mkdtemp(join(tmpdir(), "milora-rows-")), "rows.jsonl");
    const object = await this.adopt(python);
    try {
      await (await this.#session.backend()).call("exportRows", { object, file: train });
    } finally {
      await this.release(object);
    }
    return { ...spec, data: { ...rest, train } };
  }

  /**
   * Fine-tunes the model. The run goes on by itself; its handle is an async iterable of events, with `stop`
   * and `result`.
   */
  train(spec: TrainInput, options: TrainOptions = {}): TrainRun {
    const draw = (options.progress ?? process.stderr.isTTY === true) ? trainProgress(process.stderr) : undefined;
    const onEvent = (event: TrainEvent): void => {
      draw?.(event);
      options.onEvent?.(event);
    };
    return startRun(
      async (control) => {
        const resolved = this.#runSpec(await this.#withRowFile(spec));
        const graph = await this.#session.graph(resolved.method);
        const { device, dtype } = await this.#session.opened();
        const session = { device, dtype, versions: await this.#session.versions() };
        const out = resolve(options.out ?? join("runs", runName()));
        const backend = await this.#session.backend();
        return fineTune({ backend, graph, spec: resolved, out, resume: options.resume ?? false, control, session });
      },
      { signal: options.signal, onEvent },
    );
  }

  /** A trainer to own the loop with: the same spec as `train`; nothing has run yet. */
  async trainer(spec: TrainInput): Promise<Trainer> {
    const { method, data, train } = this.#runSpec(await this.#withRowFile(spec));
    const started = await methodFromWarmStart(method, train);
    const resolved = resolveMethod(await this.#session.graph(started), started);
    const rows = await loadTrainingData(data, train.seed);
    const files = await writeTrainingData(rows, await mkdtemp(join(tmpdir(), "milora-rows-")));
    await this.#session.opened();
    const backend = await this.#session.backend();
    const { format, devSource } = rows;
    return createTrainer({ backend, adapter: "trained", method: resolved, settings: train, files, format, devSource });
  }

  /** Loads an adapter folder under a tenant's name; a name that is taken gets the new adapter. */
  async load(name: string, folder: string): Promise<void> {
    await (await this.#names()).load(name, folder);
  }

  async unload(name: string): Promise<void> {
    await (await this.#names()).unload(name);
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
  async evaluate(options: EvaluateOptions): Promise<{ readonly results: readonly EvaluationResult[] }> {
    const tasks = options.tasks.map((task) => (typeof task === "string" ? taskByName(task) : task));
    // A wrong name is told before the first task is scored, not after the last but one.
    for (const task of tasks) scoredTemplate(task, options);
    return this.#withAdapter(options.adapter, async (adapter) => {
      const results: EvaluationResult[] = [];
      for (const task of tasks) {
        const onProgress = (done: number, total: number): void => options.onProgress?.(task.name, done, total);
        const scorer = options.scorer ?? "generate";
        const backend = await this.#session.backend();
        results.push(await evaluate({ ...options, backend, adapter, task, scorer, onProgress }));
      }
      return { results };
    });
  }

  /** Generates a text a request; requests of several tenants may be mixed. */
  async generate(
    requests: readonly GenerateRequest[],
    options: GenerateOptions = {},
  ): Promise<readonly GeneratedText[]> {
    const names = await this.#names();
    const texts = await generateTexts({
      ...options,
      backend: await this.#session.backend(),
      requests: requests.map(({ tenant, ...request }) => ({ ...request, adapter: names.inner(tenant) })),
    });
    return texts.map((text, index) => ({ ...text, tenant: requests[index]?.tenant ?? null }));
  }

  /** How an adapter's routers spread over the experts, for each task's prompts (the paper's Figure 2). */
  async routing(options: RoutingOptions): Promise<readonly RoutingFigures[]> {
    return this.#withAdapter(options.adapter, async (adapter) =>
      routingFigures({ ...options, backend: await this.#session.backend(), adapter }),
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

  async release(id: string): Promise<void> {
    await (await this.#session.backend()).session.release(id);
  }

  /** Ends Python; what runs is ended with it. */
  async close(): Promise<void> {
    await this.#session.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/**
 * Opens a session for one checkpoint. Python is set up on first use if need be; the model is loaded when it is
 * first needed.
 * @throws MiloraError `input/invalid-spec` for wrong options.
 */
export const openMilora = async (
  options: z.input<typeof openOptionsSchema>,
  hooks: SessionHooks = {},
): Promise<Milora> => new Milora(parseWith(openOptionsSchema, options, { what: "The options of openMilora" }), hooks);
