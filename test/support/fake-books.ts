import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import type { FakeHandlers } from "./fake-backend.js";

const stateSchema = z.object({
  /** Stands for the plan of the adapter in training. */
  plan: z.string(),
  /** Stands for all numbers of the training: a checksum over everything that made them. */
  numbers: z.string(),
  step: z.int(),
  candidates: z.int(),
});
type State = z.output<typeof stateSchema>;

const digest = (...parts: readonly unknown[]): string =>
  createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 16);

const write = (folder: string, state: State): { readonly bytes: number } => {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "state.json"), JSON.stringify(state));
  return { bytes: 1 };
};

const read = (folder: string): State =>
  stateSchema.parse(JSON.parse(readFileSync(join(folder, "state.json"), "utf8")));

/** The numbers that a fake training wrote to a folder. */
export const savedNumbers = (folder: string): string => read(folder).numbers;

/** One fake training: its numbers, as operations make them, and whether its adapter is attached and in training. */
class Books {
  readonly #before: (name: string) => void;
  #state: State | undefined;
  #training = false;
  step = 0;

  constructor(before: (name: string) => void) {
    this.#before = before;
  }

  get candidates(): number {
    return this.#state?.candidates ?? 0;
  }

  attach(input: { readonly config: object }): void {
    this.#before("attachAdapter");
    if (this.#state !== undefined) throw new Error("There already is an adapter.");
    this.#state = { plan: digest(input.config), numbers: digest(input), step: this.step, candidates: 4 };
  }

  hold(training: boolean): void {
    this.#before(training ? "startTraining" : "stopTraining");
    if (training && (this.#training || this.#state === undefined)) throw new Error("There is nothing to train.");
    this.#training = training;
  }

  unload(): void {
    this.#before("unloadAdapter");
    if (this.#training || this.#state === undefined) throw new Error("There is no adapter, or it is in training.");
    this.#state = undefined;
  }

  inTraining(name: string): State {
    this.#before(name);
    if (!this.#training || this.#state === undefined) throw new Error(`${name} without a training.`);
    return this.#state;
  }

  move(name: string, input: unknown, change: Partial<State> = {}): void {
    const from = this.inTraining(name);
    this.#state = { ...from, ...change, numbers: digest(from.numbers, name, input) };
    this.step = this.#state.step;
  }

  restore(saved: State): void {
    if (saved.plan !== this.inTraining("loadTraining").plan) throw new Error("The state is of another adapter.");
    this.#state = saved;
    this.step = saved.step;
  }
}

/** The operations that move a training's numbers, and what Python would refuse; `step` is the one it stands at. */
export const createFakeBooks = (before: (name: string) => void) => {
  const books = new Books(before);
  const handlers = {
    attachAdapter: (input) => {
      books.attach(input);
      return { trainable: "found" in input.config ? 6 : 10, routerParameters: 2, activationParameters: 1 };
    },
    startTraining: () => {
      books.hold(true);
      return { weights: 9, activation: 1 };
    },
    weightsStep: (input) => {
      books.move("weightsStep", input, { step: books.step + 1 });
      return {};
    },
    activationStep: (input) => {
      books.move("activationStep", input);
      return {};
    },
    // Rows computed at once change no numbers.
    setMicroBatch: () => {
      books.inTraining("setMicroBatch");
      return {};
    },
    trialStep: () => {
      books.inTraining("trialStep");
      return { usedBytes: 1000, freeBytes: 1_000_000 };
    },
    pruneCandidates: () => {
      const left = Math.max(1, books.candidates - 1);
      books.move("pruneCandidates", {}, { candidates: left });
      return { left };
    },
    discretise: () => ({ config: { peft_type: "FAKE", found: books.inTraining("discretise").numbers } }),
    saveAdapter: ({ folder }) => write(folder, books.inTraining("saveAdapter")),
    saveTraining: ({ folder }) => write(folder, books.inTraining("saveTraining")),
    loadTraining: ({ folder }) => {
      books.restore(read(folder));
      return {};
    },
    stopTraining: () => {
      books.hold(false);
      return {};
    },
    unloadAdapter: () => {
      books.unload();
      return {};
    },
  } satisfies FakeHandlers;
  return { handlers, step: () => books.step };
};
