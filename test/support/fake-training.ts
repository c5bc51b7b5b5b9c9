import { createFakeBackend, type FakeBackend, type FakeHandlers } from "./fake-backend.js";

/** What a fake training answers: figures for each step, and a dev loss for each evaluation (nats a token). */
export interface FakeTraining {
  readonly rows?: number;
  readonly devLosses?: readonly number[];
  /** Loss of a step by its number, from 1; 1.5 where nothing is said. */
  readonly lossOf?: (step: number) => number | null;
  readonly handlers?: FakeHandlers;
}

/** A backend that keeps the books of a training and computes nothing. */
export const createFakeTraining = ({
  rows = 40,
  devLosses = [],
  lossOf,
  handlers = {},
}: FakeTraining = {}): FakeBackend => {
  let step = 0;
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
    attachAdapter: () => ({ trainable: 10, routerParameters: 2, activationParameters: 1 }),
    startTraining: () => ({ weights: 9, activation: 1 }),
    weightsStep: () => {
      step += 1;
      waiting.push({ kind: "weights", step });
      return {};
    },
    activationStep: () => {
      waiting.push({ kind: "activation", step });
      return {};
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
      const loss = devLosses[Math.min(evaluation, devLosses.length - 1)] ?? 1;
      evaluation += 1;
      return { nll: loss * 200, answerTokens: 200, routing: null };
    },
    saveAdapter: () => ({ bytes: 1 }),
    saveTraining: () => ({ bytes: 1 }),
    loadTraining: () => ({}),
    stopTraining: () => ({}),
    unloadAdapter: () => ({}),
    ...handlers,
  });
};
