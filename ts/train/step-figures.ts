import type { Backend, OpOutput } from "../backend/backend.js";

type RawFigures = OpOutput<"trainingFigures">["steps"][number];

/** What a step was made of: its number, its rate, and the indices of its rows. */
export interface MadeStep {
  readonly step: number;
  readonly learningRate: number;
  readonly rows: readonly number[];
}

/** The figures of one step that was made. */
export type StepFigures = RawFigures & MadeStep;

const unknownStep: MadeStep = { step: 0, learningRate: 0, rows: [] };

/** Steps that were made and whose figures are still on the device. */
export class StepFigureReader {
  readonly #backend: Backend;
  readonly #made: MadeStep[] = [];
  #unread: readonly StepFigures[] = [];

  constructor(backend: Backend) {
    this.#backend = backend;
  }

  add(step: MadeStep): void {
    this.#made.push(step);
  }

  /** Reads them before the Python side forgets them; `read` gives them. */
  async keep(): Promise<void> {
    this.#unread = await this.read();
  }

  /** The figures of the steps since the last call, oldest first. */
  async read(): Promise<readonly StepFigures[]> {
    const { steps } = await this.#backend.call("trainingFigures", {});
    const unread = this.#unread;
    this.#unread = [];
    const made = this.#made.splice(0, steps.length);
    return [...unread, ...steps.map((figures, index) => ({ ...figures, ...(made[index] ?? unknownStep) }))];
  }
}
