import { resolve } from "node:path";
import type { Backend, OpOutput } from "../backend/backend.js";
import { MiloraError } from "../errors.js";
import type { ResolvedMethod } from "../methods/registry.js";
import type { LoopState } from "../runs/checkpoint.js";
import type { TrainSettings } from "../spec/train.js";
import { BatchOrder, type Batch, type Position } from "./batches.js";
import { learningRateAt, scheduleFactor, type Schedule } from "./schedule.js";

type LoadedRows = OpOutput<"loadRows">;
type RawFigures = OpOutput<"trainingFigures">["steps"][number];

/** The figures of one step that was made. */
export type StepFigures = RawFigures & { readonly step: number; readonly learningRate: number };

/** What the dev set says: perplexity, and how the routers spread its prompts. */
export interface DevLoss {
  readonly perplexity: number;
  readonly balance: number | null;
  readonly argmaxShare: Readonly<Record<string, number>> | null;
}

/** Everything that a trainer needs; made by `createTrainer`. */
export interface TrainerParts {
  readonly backend: Backend;
  readonly adapter: string;
  readonly method: ResolvedMethod;
  readonly settings: TrainSettings;
  readonly train: LoadedRows;
  readonly dev: LoadedRows;
  readonly devSource: string;
}

/** The paper's rule: 16 rows a step for a training set under 10,000 rows, else 128. */
const paperBatchSize = (rows: number): number => (rows < 10_000 ? 16 : 128);

const lengthsOf = (rows: LoadedRows): readonly number[] =>
  rows.answerTokens.map((answer, row) => (answer === 0 ? 0 : answer + (rows.promptTokens[row] ?? 0)));

const argmaxShare = (routing: OpOutput<"dataLoss">["routing"]): DevLoss["argmaxShare"] => {
  if (routing === null) return null;
  const totals = routing.experts.map((_, expert) =>
    routing.argmax.reduce((total, layer) => total + (layer[expert] ?? 0), 0),
  );
  const all = totals.reduce((total, value) => total + value, 0);
  return Object.fromEntries(routing.experts.map((name, expert) => [name, (totals[expert] ?? 0) / all]));
};

/**
 * One training in progress, a step at a time: seeded batches, steps on Ω and Θ, dev perplexity, saving.
 * `milora.train` is written on it; use it to own the loop.
 */
export class Trainer {
  readonly totalSteps: number;
  readonly batchSize: number;
  readonly method: ResolvedMethod;
  readonly settings: TrainSettings;
  readonly rows: { readonly train: LoadedRows; readonly dev: LoadedRows; readonly devSource: string };
  readonly #backend: Backend;
  readonly #adapter: string;
  readonly #schedule: Schedule;
  readonly #devLengths: readonly number[];
  #train: BatchOrder;
  #dev: BatchOrder;
  #step = 0;
  #lastWeightsStep: { readonly rows: readonly number[]; readonly learningRate: number } | undefined;
  #pending: { readonly step: number; readonly learningRate: number }[] = [];

  constructor({ backend, adapter, method, settings, train, dev, devSource }: TrainerParts) {
    this.#backend = backend;
    this.#adapter = adapter;
    this.method = method;
    this.settings = settings;
    this.rows = { train, dev, devSource };
    const lengths = lengthsOf(train);
    this.#devLengths = lengthsOf(dev);
    const usable = lengths.filter((length) => length > 0).length;
    this.#checkUsable(usable);
    this.batchSize = settings.batchSize ?? paperBatchSize(usable);
    this.#train = this.#order("train");
    this.#dev = this.#order("dev");
    const byEpochs = Math.ceil(this.#train.batchesPerEpoch * settings.epochs);
    this.totalSteps = Math.max(1, Math.min(byEpochs, settings.maxSteps ?? byEpochs));
    this.#schedule = { peak: settings.learningRate, totalSteps: this.totalSteps, warmup: settings.warmup };
  }

  /** Each data set has its own order; the dev set's is drawn from the next seed. */
  #order(which: "train" | "dev", position: Position = { epoch: 0, batch: 0 }): BatchOrder {
    const lengths = lengthsOf(this.rows[which]);
    const seed = this.settings.seed + (which === "train" ? 0 : 1);
    return new BatchOrder({ lengths, batchSize: this.batchSize, seed, position });
  }

  #checkUsable(usable: number): void {
    const devUsable = this.#devLengths.filter((length) => length > 0).length;
    if (usable > 0 && devUsable > 0) return;
    const which = usable === 0 ? "training" : "dev";
    throw new MiloraError(
      "data/empty",
      `No ${which} row is left: each answer alone is longer than ${this.settings.maxLength} tokens.`,
      { path: "train.maxLength", hint: "Raise train.maxLength or shorten the answers." },
    );
  }

  /** Weight steps that were made. */
  get step(): number {
    return this.#step;
  }

  /** Learning rate that the schedule gives the next weight step. */
  get learningRate(): number {
    return learningRateAt(this.#step, this.#schedule);
  }

  /** The batches that are left, in their seeded order; goes on where a resumed run stands. */
  *batches(): Generator<Batch, void, void> {
    while (this.#step < this.totalSteps) yield this.#train.next();
  }

  /** The next batch of the dev set, for a step on the activations. */
  nextDevBatch(): Batch {
    return this.#dev.next();
  }

  /** One AdamW step on Ω: adapter modules, poolers and router projections. */
  async weightsStep(
    batch: Batch,
    { learningRate = this.learningRate }: { readonly learningRate?: number } = {},
  ): Promise<void> {
    await this.#backend.call("weightsStep", { data: "train", rows: [...batch.rows], learningRate });
    this.#step += 1;
    this.#lastWeightsStep = { rows: batch.rows, learningRate };
    this.#pending.push({ step: this.#step, learningRate });
  }

  /** The weight step that a second-order gradient of Θ looks through: the last batch at the rate it was given. */
  #virtualStep(): { data: string; rows: number[]; learningRate: number } | null {
    if (this.settings.bilevel === "first-order") return null;
    if (this.#lastWeightsStep === undefined)
      throw new MiloraError("input/invalid-spec", "A second-order activation step needs a weights step before it.", {
        path: "train.bilevel",
        hint: "Call weightsStep first, or set train.bilevel to first-order.",
      });
    const { rows, learningRate } = this.#lastWeightsStep;
    // A virtual step of no length would be the first order.
    return learningRate === 0 ? null : { data: "train", rows: [...rows], learningRate };
  }

  /** One AdamW step on Θ, the activations' coefficients; the rate decays as the weights' does. */
  async activationStep(batch: Batch, options: { readonly learningRate?: number } = {}): Promise<void> {
    const factor = scheduleFactor(Math.max(0, this.#step - 1), this.#schedule);
    const learningRate = options.learningRate ?? this.settings.activationLearningRate * factor;
    const virtualStep = this.#virtualStep();
    await this.#backend.call("activationStep", { data: "dev", rows: [...batch.rows], learningRate, virtualStep });
    this.#pending.push({ step: this.#step, learningRate });
  }

  /** The figures of the steps since the last call; on a GPU this is what waits for them. */
  async figures(): Promise<readonly StepFigures[]> {
    const { steps } = await this.#backend.call("trainingFigures", {});
    const made = this.#pending.splice(0, steps.length);
    return steps.map((figures, index) => ({ ...figures, step: 0, learningRate: 0, ...made[index] }));
  }

  /** Loss over the whole dev set: exp(Σ nll / Σ answer tokens), and the routers' balance. */
  async devLoss({ signal }: { readonly signal?: AbortSignal } = {}): Promise<DevLoss> {
    const rows = this.#devLengths.flatMap((length, row) => (length > 0 ? [row] : []));
    const loss = await this.#backend.call(
      "dataLoss",
      { data: "dev", rows, adapter: this.#adapter, microBatch: this.settings.microBatch },
      { signal },
    );
    return {
      perplexity: Math.exp(loss.nll / loss.answerTokens),
      balance: loss.routing?.balance ?? null,
      argmaxShare: argmaxShare(loss.routing),
    };
  }

  async devPerplexity(): Promise<number> {
    return (await this.devLoss()).perplexity;
  }

  /** Saves the adapter as it is now, in PEFT's layout. */
  async save(folder: string): Promise<void> {
    await this.#backend.call("saveAdapter", { adapter: this.#adapter, folder });
  }

  /** Saves weights, both optimisers and all random states on the Python side. */
  async saveState(folder: string): Promise<void> {
    await this.#backend.call("saveTraining", { folder });
  }

  /** Where the orders of both data sets stand. */
  get position(): Pick<LoopState, "step" | "epoch" | "batch" | "devEpoch" | "devBatch"> {
    const { epoch, batch } = this.#train.position;
    const dev = this.#dev.position;
    return { step: this.#step, epoch, batch, devEpoch: dev.epoch, devBatch: dev.batch };
  }

  /** Puts everything back to a checkpoint. */
  async restore(state: LoopState, folder: string): Promise<void> {
    await this.#backend.call("loadTraining", { folder });
    this.#train = this.#order("train", { epoch: state.epoch, batch: state.batch });
    this.#dev = this.#order("dev", { epoch: state.devEpoch, batch: state.devBatch });
    this.#step = state.step;
  }

  /** Ends the training on the Python side and unloads the adapter there; what was saved stays. */
  async close(): Promise<void> {
    await this.#backend.call("stopTraining", {});
    await this.#backend.call("unloadAdapter", { adapter: this.#adapter });
  }
}

/** Attaches the method's adapter, loads the rows and opens the optimisers. */
export const createTrainer = async ({
  backend,
  adapter,
  method,
  settings,
  files,
  format,
  devSource,
}: {
  readonly backend: Backend;
  readonly adapter: string;
  readonly method: ResolvedMethod;
  readonly settings: TrainSettings;
  readonly files: { readonly train: string; readonly dev: string };
  readonly format: "plain" | "chat";
  readonly devSource: string;
}): Promise<Trainer> => {
  const { maxLength, seed, microBatch, weightDecay, maxGradientNorm } = settings;
  const train = await backend.call("loadRows", { name: "train", file: files.train, format, maxLength });
  const dev = await backend.call("loadRows", { name: "dev", file: files.dev, format, maxLength });
  // Looks at the rows first: with none that can be used, nothing is attached.
  const trainer = new Trainer({ backend, adapter, method, settings, train, dev, devSource });
  const { trains } = settings;
  const warmStart = settings.warmStart === undefined ? null : resolve(settings.warmStart);
  const config = { ...method.config, inference_mode: false };
  await backend.call("attachAdapter", { adapter, config, seed, warmStart, trains });
  const balance = method.balance;
  try {
    await backend.call("startTraining", { adapter, microBatch, weightDecay, maxGradientNorm, balance, seed });
  } catch (error) {
    await backend.call("unloadAdapter", { adapter }).catch(() => undefined);
    throw error;
  }
  return trainer;
};
