import { closeSync, existsSync, fsyncSync, openSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { onDisk } from "./disk.js";

/** What a training run tells, in order; each is one line of `events.jsonl`. */
export type TrainEvent =
  | {
      readonly type: "started";
      readonly run: string;
      readonly method: string;
      readonly model: string;
      readonly device: string;
      readonly dtype: string;
      readonly trainable: number;
      readonly rows: {
        readonly train: number;
        readonly dev: number;
        readonly dropped: number;
        readonly truncated: number;
      };
      /** Where the dev rows come from. */
      readonly devSource: string;
      readonly steps: number;
      readonly resumedAt: number | null;
    }
  | {
      readonly type: "step";
      readonly step: number;
      readonly kind: "weights" | "activation";
      /** Mean cross entropy of an answer token, nats; null where it was not finite. */
      readonly loss: number | null;
      readonly balance: number | null;
      readonly gradientNorm: number | null;
      readonly learningRate: number;
      readonly answerTokens: number;
      readonly tokens: number;
    }
  | {
      readonly type: "evaluation";
      readonly step: number;
      /** exp of the mean negative log-likelihood of a dev set's answer token. */
      readonly perplexity: number;
      readonly best: boolean;
      /** Balance loss over the dev set's prompts; null without routers. */
      readonly balance: number | null;
      /** Share of each expert as the most probable one, over layers and dev prompts; null without routers. */
      readonly argmaxShare: Readonly<Record<string, number>> | null;
    }
  | {
      /** A phase begins, or goes on in a resumed run; not told where the training has just one. */
      readonly type: "phase";
      readonly name: "search" | "train";
      /** Its place, from 0, and how many there are. */
      readonly index: number;
      readonly of: number;
      /** Steps of the run that are made. */
      readonly step: number;
      /** Steps of the phase. */
      readonly steps: number;
      readonly trainable: number;
    }
  /** A search dropped candidates; at most `left` are left at each place. */
  | { readonly type: "pruned"; readonly step: number; readonly left: number }
  | { readonly type: "checkpoint"; readonly step: number; readonly folder: string }
  | {
      /** An update that was not made, because loss or gradient was not finite. */
      readonly type: "skipped";
      readonly step: number;
      readonly kind: "weights" | "activation";
      /** The file of the rows, in the run's folder. */
      readonly file: string;
      /** Lines of the file, from 1: the rows whose own loss is not finite, else all rows of the step. */
      readonly lines: readonly number[];
      /** Updates of the run that were skipped so far. */
      readonly total: number;
    }
  /** Memory was exhausted, or a trial said what fits: so many rows are computed at once from now on. */
  | { readonly type: "microBatch"; readonly step: number; readonly from: number | null; readonly to: number }
  /** Nothing came to an end for so many minutes; `during` says what was going on. Told once a stall. */
  | { readonly type: "stalled"; readonly step: number; readonly minutes: number; readonly during: string }
  | { readonly type: "warning"; readonly message: string }
  | {
      readonly type: "finished";
      readonly step: number;
      readonly stoppedBy: string;
      readonly best: { readonly step: number; readonly devPerplexity: number } | null;
      /** All tokens that were not padding, of weight steps, a second of training. */
      readonly tokensPerSecond: number;
      readonly seconds: number;
      /** Updates that were skipped because loss or gradient was not finite. */
      readonly skipped: number;
    };

/** An append-only record of events, a JSON object a line. */
export interface EventLog {
  readonly append: (event: TrainEvent) => void;
  /** Bytes that are safely on disk after the call. */
  readonly sync: () => number;
  readonly close: () => void;
}

/**
 * Opens the record for appending. With `keepBytes` everything after is cut off: what a killed run wrote
 * after its last checkpoint is made again by the resumed one.
 * @throws MiloraError `run/disk`, here and in each call.
 */
export const openEventLog = (file: string, keepBytes?: number): EventLog => {
  const place = { what: "The run's record", file };
  const handle = onDisk(place, () => {
    if (keepBytes !== undefined && existsSync(file) && statSync(file).size > keepBytes) truncateSync(file, keepBytes);
    return openSync(file, "a");
  });
  let open = true;
  return {
    append: (event) => {
      const line = `${JSON.stringify({ time: new Date().toISOString(), ...event })}\n`;
      // Unlike writeSync it goes on where the system took a part of the line only.
      onDisk(place, () => writeFileSync(handle, line));
    },
    sync: () =>
      onDisk(place, () => {
        fsyncSync(handle);
        return statSync(file).size;
      }),
    close: () => {
      if (open) closeSync(handle);
      open = false;
    },
  };
};
