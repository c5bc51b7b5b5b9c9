import type { Backend, OpInput } from "../backend/backend.js";
import type { TrainEvent } from "../runs/events.js";

type Scalar = NonNullable<OpInput<"writeScalars">["scalars"]>[number];

/** Writes a run's figures to TensorBoard's event files while it runs. */
export interface TensorboardLog {
  /** Takes an event's figures; nothing waits for them to be written. */
  readonly add: (event: TrainEvent) => void;
  /** Writes the rest and closes the file. A failure on the way is given back: it must not end a run. */
  readonly close: () => Promise<Error | undefined>;
}

/** Figures that go out together; an evaluation sends what there is. */
const batch = 20;

const scalar = (tag: string, step: number, value: number | null): readonly Scalar[] =>
  value === null ? [] : [{ tag, step, value }];

/** The figures of an event, by TensorBoard's tags. */
export const scalarsOf = (event: TrainEvent): readonly Scalar[] => {
  if (event.type === "step") {
    const { kind, step, loss, balance, gradientNorm, learningRate, tokens } = event;
    return [
      ...scalar(`${kind}/loss`, step, loss),
      ...scalar(`${kind}/balance`, step, balance),
      ...scalar(`${kind}/gradient-norm`, step, gradientNorm),
      ...scalar(`${kind}/learning-rate`, step, learningRate),
      ...scalar(`${kind}/tokens`, step, tokens),
    ];
  }
  if (event.type !== "evaluation") return [];
  const { step, perplexity, balance, argmaxShare } = event;
  return [
    ...scalar("dev/perplexity", step, perplexity),
    ...scalar("dev/balance", step, balance),
    ...Object.entries(argmaxShare ?? {}).flatMap(([expert, share]) => scalar(`experts/${expert}`, step, share)),
  ];
};

/**
 * Opens the event file in `folder`. `from`: the step that a resumed run goes on at; what an older file has after it is
 * dropped by TensorBoard.
 * @throws MiloraError `environment/missing-package` without the Python package tensorboard; `run/disk`.
 */
export const openTensorboard = async (
  backend: Backend,
  { folder, from }: { readonly folder: string; readonly from: number | null },
): Promise<TensorboardLog> => {
  await backend.call("writeScalars", { folder, purgeStep: from === null ? null : from + 1 });
  let waiting: Scalar[] = [];
  let failure: Error | undefined;
  let closed = false;
  let written: Promise<unknown> = Promise.resolve();
  const send = (close: boolean): void => {
    const scalars = waiting;
    waiting = [];
    written = written
      .then(() => backend.call("writeScalars", { folder, scalars, close }))
      .catch((error: unknown) => {
        failure ??= error instanceof Error ? error : new Error(String(error));
      });
  };
  return {
    add: (event) => {
      if (failure !== undefined) return;
      waiting.push(...scalarsOf(event));
      if (waiting.length >= batch || (event.type === "evaluation" && waiting.length > 0)) send(false);
    },
    close: async () => {
      if (!closed) send(true);
      closed = true;
      await written;
      return failure;
    },
  };
};
