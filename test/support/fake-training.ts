import { createFakeBackend, type FakeBackend, type FakeHandlers } from "./fake-backend.js";
import { createFakeBooks } from "./fake-books.js";

/** What a fake training answers: figures for each step, and a dev loss for each evaluation (nats a token). */
export interface FakeTraining {
  readonly rows?: number;
  readonly devLosses?: readonly number[];
  /** Dev loss by the steps made so far, in place of `devLosses`. */
  readonly devLossAt?: (step: number) => number;
  /** Loss of a step by its number, from 1; 1.5 where nothing is said. */
  readonly lossOf?: (step: number) => number | null;
  /** Called with the name of each operation that the training consists of, before it is done; may throw. */
  readonly before?: (name: string) => void;
  readonly handlers?: FakeHandlers;
}

/** A backend that keeps the books of a training and computes nothing; a training resumed from its files goes on. */
export const createFakeTraining = ({
  rows = 40,
  devLosses = [],
  devLossAt,
  lossOf,
  before = () => undefined,
  handlers = {},
}: FakeTraining = {}): FakeBackend => {
  const books = createFakeBooks(before);
  let evaluation = 0;
  const waiting: { readonly kind: "weights" | "activation"; readonly step: number }[] = [];
  return createFakeBackend({
    loadRows: ({ name }) => ({
      rows,
      promptTokens: Array.from({ length: rows }, () => 20),
      answerTokens: Array.from({ length: rows }, () => 5),
      truncated: [],
      dropped: [],
      checksum: `checksum-of-${name}`,
    }),
    ...books.handlers,
    weightsStep: (input) => {
      books.handlers.weightsStep(input);
      waiting.push({ kind: "weights", step: books.step() });
      return {};
    },
    activationStep: (input) => {
      books.handlers.activationStep(input);
      waiting.push({ kind: "activation", step: books.step() });
      return {};
    },
    stopTraining: () => {
      waiting.length = 0;
      return books.handlers.stopTraining();
    },
    trainingFigures: () => ({
      steps: waiting.splice(0).map(({ kind, step: at }) => ({
        kind,
        loss: lossOf === undefined ? 1.5 : lossOf(at),
        balance: 1.1,
        gradientNorm: 0.5,
        answerTokens: 80,
        tokens: 400,
      })),
    }),
    dataLoss: () => {
      const loss = devLossAt?.(books.step()) ?? devLosses[Math.min(evaluation, devLosses.length - 1)] ?? 1;
      evaluation += 1;
      return { nll: loss * 200, answerTokens: 200, routing: null };
    },
    ...handlers,
  });
};
