import { closeSync, existsSync, fsyncSync, openSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { onDisk } from "./disk.js";

/** What a training run tells, in order; each is one line of `events.jsonl`. */
export type TrainEvent =
  | {
      /** The run begins, or goes on. */
      readonly type: "started";
      /** The run's folder. */
      readonly run: string;
      /** The kind of the method. */
      readonly method: string;
      /** The model, as it was named. */
      readonly model: string;
      /** Where it trains. */
      readonly device: string;
      /** What the frozen model is held in. */
      readonly dtype: string;
      /** Parameters that train. */
      readonly trainable: number;
      /** Rows of both sets, and those that were left out or cut. */
      readonly rows: {
        /** Training rows. */
        readonly train: number;
        /** Dev rows. */
        readonly dev: number;
        /** Rows left out: their answer did not fit into `train.maxLength`. */
        readonly dropped: number;
        /** Rows whose prompt lost its start. */
        readonly truncated: number;
      };
      /** Where the dev rows come from. */
      readonly devSource: string;
      /** Weight steps of the whole training. */
      readonly steps: number;
      /** The step that the run goes on from; null for a new one. */
      readonly resumedAt: number | null;
    }
  | {
      /** A step was made. */
      readonly type: "step";
      /** The number of weight steps so far. */
      readonly step: number;
      /** `weights`: Ω; `activation`: Θ. */
      readonly kind: "weights" | "activation";
      /** Mean cross entropy of an answer token, nats; null where it was not finite. */
      readonly loss: number | null;
      /** The balance loss, unweighted; null without routers. */
      readonly balance: number | null;
      /** Before clipping; null where it was not finite. */
      readonly gradientNorm: number | null;
      /** The rate of this step. */
      readonly learningRate: number;
      /** Tokens that the loss counts. */
      readonly answerTokens: number;
      /** All tokens that are not padding. */
      readonly tokens: number;
    }
  | {
      /** The dev set was looked at. */
      readonly type: "evaluation";
      /** The number of weight steps so far. */
      readonly step: number;
      /** exp of the mean negative log-likelihood of a dev set's answer token. */
      readonly perplexity: number;
      /** No earlier one was lower: the adapter is kept. */
      readonly best: boolean;
      /** Balance loss over the dev set's prompts; null without routers. */
      readonly balance: number | null;
      /** Share of each expert as the most probable one, over layers and dev prompts; null without routers. */
      readonly argmaxShare: Readonly<Record<string, number>> | null;
    }
  | {
      /** A phase begins, or goes on in a resumed run; not told where the training has just one. */
      readonly type: "phase";
      /** A search, or the training of what is kept. */
      readonly name: "search" | "train";
      /** Its place, from 0, and how many there are. */
      readonly index: number;
      /** How many phases there are. */
      readonly of: number;
      /** Steps of the run that are made. */
      readonly step: number;
      /** Steps of the phase. */
      readonly steps: number;
      /** Parameters that train in it. */
      readonly trainable: number;
    }
  | {
      /** A search dropped candidates. */
      readonly type: "pruned";
      /** The number of weight steps so far. */
      readonly step: number;
      /** The most candidates that are left at each place. */
      readonly left: number;
    }
  | {
      /** The run can go on from here. */
      readonly type: "checkpoint";
      /** The number of weight steps so far. */
      readonly step: number;
      /** Where it lies. */
      readonly folder: string;
    }
  | {
      /** An update that was not made, because loss or gradient was not finite. */
      readonly type: "skipped";
      /** The number of weight steps so far. */
      readonly step: number;
      /** Which of the two optimisers would have moved. */
      readonly kind: "weights" | "activation";
      /** The file of the rows, in the run's folder. */
      readonly file: string;
      /** Lines of the file, from 1: the rows whose own loss is not finite, else all rows of the step. */
      readonly lines: readonly number[];
      /** Updates of the run that were skipped so far. */
      readonly total: number;
    }
  | {
      /** Memory was exhausted, or a trial said what fits. */
      readonly type: "microBatch";
      /** The number of weight steps so far. */
      readonly step: number;
      /** Rows that were computed at once; null before a trial. */
      readonly from: number | null;
      /** Rows that are computed at once from now on. */
      readonly to: number;
    }
  | {
      /** Nothing came to an end for a while. Told once a stall. */
      readonly type: "stalled";
      /** The number of weight steps so far. */
      readonly step: number;
      /** How long, minutes. */
      readonly minutes: number;
      /** What was going on. */
      readonly during: string;
    }
  | {
      /** Something that the run goes on with, but a reader should know. */
      readonly type: "warning";
      /** What it is. */
      readonly message: string;
    }
  | {
      /** The run has ended. */
      readonly type: "finished";
      /** Weight steps that were made. */
      readonly step: number;
      /** Why it ended, such as `max-steps`, `epochs`, `patience`, or what `stop` was given. */
      readonly stoppedBy: string;
      /** The evaluation of the adapter that is kept; null where there was none. */
      readonly best: {
        /** Weight steps before it. */
        readonly step: number;
        /** Its dev perplexity. */
        readonly devPerplexity: number;
      } | null;
      /** All tokens that were not padding, of weight steps, a second of training. */
      readonly tokensPerSecond: number;
      /** Time of the training, seconds. */
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
