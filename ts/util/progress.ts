import { formatDuration } from "./duration.js";

/** What a progress line is written to; `process.stderr` fits. */
export interface ProgressStream {
  write(text: string): unknown;
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
}

export interface ProgressOptions {
  readonly stream: ProgressStream;
  readonly label: string;
  /** Units of the whole work; null where it is not known. */
  readonly total: number | null;
  /** Name of a unit in the rate, such as `step`. */
  readonly unit?: string | undefined;
  /** Clock in milliseconds; for tests. */
  readonly now?: (() => number) | undefined;
  /** Units done before this progress began (a resumed run); they do not count in the rate. */
  readonly start?: number | undefined;
}

export interface Progress {
  /** `figures`: free-form, such as `loss 1.23`, shown after the counts. */
  update(done: number, figures?: string): void;
  /** A whole line above the progress line. */
  note(text: string): void;
  /** Draws the last state once more (or `text`) and ends the line; later calls do nothing. */
  close(text?: string): void;
}

const redrawEveryMs = 100;
const plainLineEveryMs = 10_000;
const clearLine = "\r\u001B[K";

interface State {
  done: number;
  figures: string;
  lastDrawn: number;
  drawnText: string;
  closed: boolean;
}

const describe = (options: ProgressOptions, state: State, elapsedMs: number): string => {
  const { label, total, unit } = options;
  const sinceStart = state.done - (options.start ?? 0);
  const rate = elapsedMs > 0 ? (sinceStart * 1000) / elapsedMs : 0;
  const parts = [total === null ? `${label} ${state.done}` : `${label} ${state.done}/${total}`];
  if (total !== null && total > 0) parts.push(`${Math.floor((100 * state.done) / total)} %`);
  if (state.figures !== "") parts.push(state.figures);
  if (unit !== undefined && rate > 0) parts.push(`${rate >= 10 ? rate.toFixed(0) : rate.toFixed(2)} ${unit}/s`);
  if (total !== null && rate > 0 && state.done < total) {
    parts.push(`${formatDuration((total - state.done) / rate)} left`);
  } else if (total === null || state.done >= total) {
    parts.push(formatDuration(elapsedMs / 1000));
  }
  return parts.join(" · ");
};

const fitted = (text: string, columns: number | undefined): string =>
  columns !== undefined && columns > 1 && text.length >= columns ? `${text.slice(0, columns - 2)}…` : text;

/**
 * A progress line with counts, rate, time left and free-form figures: redrawn in place on a terminal (at most ten
 * times a second), whole lines elsewhere (at most one in ten seconds, and the last). It holds no timer.
 */
export const createProgress = (options: ProgressOptions): Progress => {
  const { stream } = options;
  const now = options.now ?? Date.now;
  const startedAt = now();
  const terminal = stream.isTTY === true;
  const state: State = { done: options.start ?? 0, figures: "", lastDrawn: -Infinity, drawnText: "", closed: false };
  if (!terminal) state.lastDrawn = startedAt;

  const draw = (text: string): void => {
    stream.write(terminal ? `${clearLine}${fitted(text, stream.columns)}` : `${text}\n`);
    state.lastDrawn = now();
    state.drawnText = text;
  };
  return {
    update: (done, figures) => {
      if (state.closed) return;
      state.done = done;
      state.figures = figures ?? state.figures;
      const due = now() - state.lastDrawn >= (terminal ? redrawEveryMs : plainLineEveryMs);
      if (due) draw(describe(options, state, now() - startedAt));
    },
    note: (text) => {
      if (terminal && state.drawnText !== "" && !state.closed) {
        stream.write(`${clearLine}${text}\n${fitted(state.drawnText, stream.columns)}`);
      } else stream.write(`${text}\n`);
    },
    close: (text) => {
      if (state.closed) return;
      state.closed = true;
      const last = text ?? describe(options, state, now() - startedAt);
      if (terminal) stream.write(`${clearLine}${fitted(last, stream.columns)}\n`);
      else if (last !== state.drawnText) stream.write(`${last}\n`);
    },
  };
};
