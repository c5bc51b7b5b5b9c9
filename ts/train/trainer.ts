import type { Backend, OpOutput } from "../backend/backend.js";
import { MiloraError } from "../errors.js";
import type { TrainingPlan } from "../methods/phase.js";
import type { ResolvedMethod } from "../methods/registry.js";
import type { LoopState } from "../runs/checkpoint.js";
import type { TrainSettings } from "../spec/train.js";
import type { Batch, BatchOrder, Position } from "./batches.js";
import { devLossOf, type DevLoss } from "./dev-loss.js";
import { openTraining, type AdapterToTrain, type PlanConfig } from "./open-training.js";
import type { TrainerPhase } from "./phases.js";
import { learningRateAt, scheduleFactor, type Schedule } from "./schedule.js";
import { rowOrder, usableRows, type TrainingLength, type TrainingRows } from "./training-rows.js";

type RawFigures = OpOutput<"trainingFigures">["steps"][number];

/** The figures of one step that was made. */
export type StepFigures = RawFigures & { readonly step: number; readonly learningRate: number };

/** Everything that a trainer needs; made by `createTrainer`. */
export interface TrainerParts extends AdapterToTrain {
  readonly rows: TrainingRows;
  readonly length: TrainingLength;
  readonly plan: TrainingPlan<PlanConfig>;
  readonly phases: readonly TrainerPhase[];
  readonly opened: OpenedPhase;
}

/** A phase whose adapter is attached: its plan, and how many parameters train. */
interface OpenedPhase {
  readonly phase: TrainerPhase;
  readonly config: PlanConfig;
  readonly trainable: number;
}

/**
 * One training in progress, a step at a time: seeded batches, steps on Ω and Θ, dev perplexity, saving.
 * `milora.train` is written on it; use it to own the loop. Most methods have one phase; one that searches has two,
 * and `nextPhase` leads from one to the other.
 */
export class Trainer {
  /** Steps of the whole training, all phases. */
  readonly totalSteps: number;
  readonly batchSize: number;
  readonly method: ResolvedMethod;
  readonly settings: TrainSettings;
  readonly rows: TrainingRows;
  readonly #parts: TrainerParts;
  readonly #backend: Backend;
  readonly #adapter: string;
  #opened: OpenedPhase;
  #train: BatchOrder;
  #dev: BatchOrder;
  #step = 0;
  #lastWeightsStep: { readonly rows: readonly number[]; readonly learningRate: number } | undefined;
  #pending: { readonly step: number; readonly learningRate: number }[] = [];
  #unread: StepFigures[] = [];

  constructor(parts: TrainerParts) {
    this.#parts = parts;
    this.#backend = parts.backend;
    this.#adapter = parts.adapter;
    this.#opened = parts.opened;
    this.totalSteps = parts.length.totalSteps;
    this.batchSize = parts.length.batchSize;
    this.method = parts.method;
    this.settings = parts.settings;
    this.rows = parts.rows;
    this.#train = this.#order("train");
    this.#dev = this.#order("dev");
  }

  /** Each data set has its own order; the dev set's is drawn from the next seed. */
  #order(which: "train" | "dev", position?: Position): BatchOrder {
    const { batchSize } = this;
    const seed = this.settings.seed + (which === "train" ? 0 : 1);
    return rowOrder(this.rows[which], { batchSize, seed, ...(position === undefined ? {} : { position }) });
  }

  /** Weight steps that were made, over all phases. */
  get step(): number {
    return this.#step;
  }

  /** The phase that the training is in. */
  get phase(): TrainerPhase {
    return this.#opened.phase;
  }

  /** Weight steps that are left of the phase. */
  get stepsLeft(): number {
    return this.phase.start + this.phase.steps - this.#step;
  }

  /** Parameters that train in this phase. */
  get trainable(): number {
    return this.#opened.trainable;
  }

  /** The plan of the adapter in training: its `adapter_config.json`. */
  get config(): PlanConfig {
    return this.#opened.config;
  }

  /** Whether the adapter as it is now may be kept as the best: not in a search, nor before the method's budget. */
  get mayBeBest(): boolean {
    const last = this.phase.index === this.phase.of - 1;
    return last && (this.#step >= this.#parts.plan.bestFrom || this.#step >= this.totalSteps);
  }

  /** The learning rate rises and falls anew in each phase. */
  get #schedule(): Schedule {
    const { learningRate: peak, warmup } = this.settings;
    return { peak, totalSteps: this.phase.steps, warmup };
  }

  /** Learning rate that the schedule gives the next weight step. */
  get learningRate(): number {
    return learningRateAt(this.#step - this.phase.start, this.#schedule);
  }

  /** The batches that are left of the phase, in their seeded order; goes on where a resumed run stands. */
  *batches(): Generator<Batch, void, void> {
    while (this.stepsLeft > 0) yield this.#train.next();
  }

  /** The next batch of the dev set, for a step on what is trained on it. */
  nextDevBatch(): Batch {
    return this.#dev.next();
  }

  /** One AdamW step on Ω: adapter modules, poolers and router projections. */
  async weightsStep(
    batch: Batch,
    { learningRate = this.learningRate }: { readonly learningRate?: number } = {},
  ): Promise<void> {
    const budget = this.#parts.plan.scheduled ? { budgetStep: this.#step + 1 } : {};
    await this.#backend.call("weightsStep", { data: "train", rows: [...batch.rows], learningRate, ...budget });
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

  /** In a search the constant rate of what decides, else one that decays as the weights' does. */
  get #activationRate(): number {
    const { phase, settings } = this;
    if (phase.search !== null) return phase.search.learningRate;
    const step = Math.max(0, this.#step - phase.start - 1);
    return settings.activationLearningRate * scheduleFactor(step, this.#schedule);
  }

  /** One AdamW step on Θ: the activations' coefficients, or what a search decides by. */
  async activationStep(batch: Batch, options: { readonly learningRate?: number } = {}): Promise<void> {
    const learningRate = options.learningRate ?? this.#activationRate;
    const virtualStep = this.#virtualStep();
    await this.#backend.call("activationStep", { data: "dev", rows: [...batch.rows], learningRate, virtualStep });
    this.#pending.push({ step: this.#step, learningRate });
  }

  /** Drops the weakest candidate of each place of a search; gives how many are left there at most. */
  async pruneCandidates(): Promise<number> {
    return (await this.#backend.call("pruneCandidates", { adapter: this.#adapter })).left;
  }

  /**
   * Ends a search: the adapter that it found takes its place and is trained anew, by fresh optimisers.
   * @returns false in the last phase, where nothing happens.
   * @throws MiloraError `input/invalid-spec` while steps of the search are left.
   */
  async nextPhase(): Promise<boolean> {
    const { phases, backend, adapter } = this.#parts;
    const phase = phases[this.phase.index + 1];
    if (phase === undefined) return false;
    if (this.stepsLeft > 0)
      throw new MiloraError(
        "input/invalid-spec",
        `The phase ${this.phase.name} has ${this.stepsLeft} of ${this.phase.steps} steps left; make them before nextPhase.`,
      );
    // The Python side forgets them with the training that ends here.
    this.#unread = [...(await this.figures())];
    const { config } = await backend.call("discretise", { adapter });
    await backend.call("stopTraining", {});
    await backend.call("unloadAdapter", { adapter });
    const trainable = await openTraining(this.#parts, { config, warmStart: false });
    this.#opened = { phase, config: { ...config, inference_mode: true }, trainable };
    this.#lastWeightsStep = undefined;
    return true;
  }

  /** The figures of the steps since the last call; on a GPU this is what waits for them. */
  async figures(): Promise<readonly StepFigures[]> {
    const { steps } = await this.#backend.call("trainingFigures", {});
    const unread = this.#unread.splice(0);
    const made = this.#pending.splice(0, steps.length);
    return [...unread, ...steps.map((figures, index) => ({ ...figures, step: 0, learningRate: 0, ...made[index] }))];
  }

  /** Loss over the whole dev set: exp(Σ nll / Σ answer tokens), and the routers' balance. */
  async devLoss({ signal }: { readonly signal?: AbortSignal } = {}): Promise<DevLoss> {
    const rows = [...usableRows(this.rows.dev)];
    const { microBatch } = this.settings;
    return devLossOf(
      await this.#backend.call("dataLoss", { data: "dev", rows, adapter: this.#adapter, microBatch }, { signal }),
    );
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

  /** Where the phases and the orders of both data sets stand. */
  get position(): Pick<LoopState, "step" | "phase" | "epoch" | "batch" | "devEpoch" | "devBatch"> {
    const { epoch, batch } = this.#train.position;
    const dev = this.#dev.position;
    return { step: this.#step, phase: this.phase.index, epoch, batch, devEpoch: dev.epoch, devBatch: dev.batch };
  }

  /**
   * Puts everything back to a checkpoint of this phase.
   * @throws MiloraError `run/not-resumable` for a checkpoint of another phase, or of another adapter.
   */
  async restore(state: LoopState, folder: string): Promise<void> {
    if (state.phase !== this.phase.index)
      throw new MiloraError(
        "run/not-resumable",
        `The checkpoint is of phase ${state.phase + 1}, but the training is in phase ${this.phase.index + 1}.`,
        { file: folder, found: String(state.phase + 1), allowed: String(this.phase.index + 1) },
      );
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
