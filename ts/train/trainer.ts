import type { Backend } from "../backend/backend.js";
import { MiloraError } from "../errors.js";
import type { ResolvedMethod } from "../methods/registry.js";
import type { LoopState } from "../runs/checkpoint.js";
import type { TrainSettings } from "../spec/train.js";
import type { Batch, BatchOrder, Position } from "./batches.js";
import { devLossOf, type DevLoss } from "./dev-loss.js";
import type { MicroBatch } from "./micro-batch.js";
import { nonFiniteRows } from "./non-finite-rows.js";
import { openTraining, type PlanConfig } from "./open-training.js";
import { checkInPhase, type TrainerPhase } from "./phases.js";
import { learningRateAt, scheduleFactor, type Schedule } from "./schedule.js";
import { StepFigureReader, type StepFigures } from "./step-figures.js";
import type { OpenedPhase, TrainerParts } from "./trainer-parts.js";
import { longestRows, rowOrder, usableRows, type TrainingRows } from "./training-rows.js";

/** What of a checkpoint's state is the trainer's own. */
type TrainerPosition = Pick<
  LoopState,
  "step" | "phase" | "epoch" | "batch" | "devEpoch" | "devBatch" | "microBatch" | "rateFactor"
>;

/**
 * One training in progress, a step at a time: seeded batches, steps on Ω and Θ, dev perplexity, saving.
 * `milora.train` is written on it; use it to own the loop. Most methods have one phase; one that searches has two,
 * and `nextPhase` leads from one to the other.
 */
export class Trainer {
  /** Steps of the whole training, all phases. */
  readonly totalSteps: number;
  /** Rows of a step. */
  readonly batchSize: number;
  /** The method, resolved against the model. */
  readonly method: ResolvedMethod;
  /** The spec's `train`, all defaults filled. */
  readonly settings: TrainSettings;
  /** What the rows are: how many, how long, which were left out. */
  readonly rows: TrainingRows;
  readonly #parts: TrainerParts;
  readonly #backend: Backend;
  readonly #adapter: string;
  readonly #microBatch: MicroBatch;
  readonly #figures: StepFigureReader;
  #opened: OpenedPhase;
  #train: BatchOrder;
  #dev: BatchOrder;
  #step = 0;
  #rateFactor = 1;
  #lastWeightsStep: { readonly rows: readonly number[]; readonly learningRate: number } | undefined;

  constructor(parts: TrainerParts) {
    this.#parts = parts;
    this.#backend = parts.backend;
    this.#adapter = parts.adapter;
    this.#microBatch = parts.microBatch;
    this.#figures = new StepFigureReader(parts.backend);
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
    return this.#rateFactor * learningRateAt(this.#step - this.phase.start, this.#schedule);
  }

  /** Rows computed at once. */
  get microBatch(): number {
    return this.#microBatch.rows;
  }

  /**
   * Multiplies the rates that the schedule gives from the next step on; a checkpoint keeps it.
   * @throws MiloraError `input/invalid-spec` for a factor that is negative or not finite.
   */
  scaleRates(factor: number): void {
    if (!Number.isFinite(factor) || factor < 0)
      throw new MiloraError(
        "input/invalid-spec",
        `The factor of the learning rates is ${factor}; allowed: 0 or more.`,
        {
          found: String(factor),
          allowed: "0 or more",
        },
      );
    this.#rateFactor = factor;
  }

  /** With `microBatch: "auto"` finds how many rows memory has room for; gives whether there was a trial. */
  async tryMicroBatch(): Promise<boolean> {
    return this.#microBatch.tryOut(longestRows(this.rows.train, this.batchSize));
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
    const input = { data: "train", rows: [...batch.rows], learningRate, ...budget };
    await this.#microBatch.fit(() => this.#backend.call("weightsStep", input));
    this.#step += 1;
    this.#lastWeightsStep = { rows: batch.rows, learningRate };
    this.#figures.add({ step: this.#step, learningRate, rows: batch.rows });
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
    if (phase.search !== null) return this.#rateFactor * phase.search.learningRate;
    const step = Math.max(0, this.#step - phase.start - 1);
    return this.#rateFactor * settings.activationLearningRate * scheduleFactor(step, this.#schedule);
  }

  /** One AdamW step on Θ: the activations' coefficients, or what a search decides by. */
  async activationStep(batch: Batch, options: { readonly learningRate?: number } = {}): Promise<void> {
    const learningRate = options.learningRate ?? this.#activationRate;
    const input = { data: "dev", rows: [...batch.rows], learningRate, virtualStep: this.#virtualStep() };
    await this.#microBatch.fit(() => this.#backend.call("activationStep", input));
    this.#figures.add({ step: this.#step, learningRate, rows: batch.rows });
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
    await this.#figures.keep();
    const { config } = await backend.call("discretise", { adapter });
    await backend.call("stopTraining", {});
    await backend.call("unloadAdapter", { adapter });
    const trainable = await openTraining(this.#parts, { config, warmStart: false, microBatch: this.microBatch });
    this.#opened = { phase, config: { ...config, inference_mode: true }, trainable };
    this.#lastWeightsStep = undefined;
    return true;
  }

  /** The figures of the steps since the last call; on a GPU this is what waits for them. */
  async figures(): Promise<readonly StepFigures[]> {
    return this.#figures.read();
  }

  #dataLoss(data: "train" | "dev", rows: readonly number[], signal?: AbortSignal) {
    const input = { data, rows: [...rows], adapter: this.#adapter };
    return this.#microBatch.fit(() =>
      this.#backend.call("dataLoss", { ...input, microBatch: this.microBatch }, { signal }),
    );
  }

  /** Loss over the whole dev set: exp(Σ nll / Σ answer tokens), and the routers' balance. */
  async devLoss({ signal }: { readonly signal?: AbortSignal } = {}): Promise<DevLoss> {
    return devLossOf(await this.#dataLoss("dev", usableRows(this.rows.dev), signal));
  }

  /** Those of some rows whose own loss is not finite; of the dev set all are looked at by default. */
  async nonFiniteRows(
    data: "train" | "dev",
    rows: readonly number[] = usableRows(this.rows[data]),
  ): Promise<readonly number[]> {
    return nonFiniteRows(rows, (part) => this.#dataLoss(data, part));
  }

  /** The perplexity of the dev set as it is now. */
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
  get position(): TrainerPosition {
    const { epoch, batch } = this.#train.position;
    const dev = this.#dev.position;
    return {
      step: this.#step,
      phase: this.phase.index,
      epoch,
      batch,
      devEpoch: dev.epoch,
      devBatch: dev.batch,
      microBatch: this.#microBatch.found,
      rateFactor: this.#rateFactor,
    };
  }

  /**
   * Puts everything back to a checkpoint of this phase.
   * @throws MiloraError `run/not-resumable` for a checkpoint of another phase, or of another adapter.
   */
  async restore(state: LoopState, folder: string): Promise<void> {
    checkInPhase(this.phase, state, folder);
    await this.#backend.call("loadTraining", { folder });
    this.#train = this.#order("train", { epoch: state.epoch, batch: state.batch });
    this.#dev = this.#order("dev", { epoch: state.devEpoch, batch: state.devBatch });
    this.#step = state.step;
    this.#rateFactor = state.rateFactor;
    await this.#microBatch.restore(state.microBatch);
  }

  /** Ends the training on the Python side and unloads the adapter there; what was saved stays. */
  async close(): Promise<void> {
    await this.#backend.call("stopTraining", {});
    await this.#backend.call("unloadAdapter", { adapter: this.#adapter });
  }
}
