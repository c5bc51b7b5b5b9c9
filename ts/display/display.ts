import type { TrainEvent } from "../runs/events.js";
import type { TrainResult, TrainRun } from "../train/run-handle.js";
import { type Forms, openCellOutput } from "../util/notebook.js";
import type { Figure } from "./figure.js";
import { tableHtml, tableText, type Table } from "./table.js";
import { trainingFigure } from "./training-figure.js";

/** How something is shown in a notebook; a terminal always shows text. */
export interface DisplayOptions {
  /** One form alone. By default a notebook gets all of them and shows the best that it knows. */
  readonly as?: "svg" | "vega-lite" | "text" | undefined;
}

/** A figure by mime type. */
const figureForms = (figure: Figure, as: DisplayOptions["as"]): Forms => ({
  ...(as === undefined || as === "svg" ? { "image/svg+xml": figure.svg } : {}),
  ...(as === undefined || as === "vega-lite" ? { "application/vnd.vegalite.v5+json": figure.vegaLite } : {}),
  ...(as === undefined || as === "text" ? { "text/plain": figure.text } : {}),
});

const tableForms = (table: Table, as: DisplayOptions["as"]): Forms => ({
  ...(as === "text" ? {} : { "text/html": tableHtml(table) }),
  "text/plain": tableText(table),
});

/** Milliseconds between two drawings of a curve. */
const drawEveryMs = 1_000;

/**
 * Draws a run's curve while it trains: as one picture, which changes without a flicker, and in every form at its end.
 * An interrupt of the cell or of the program stops the run after the step in progress, saved; without this it would
 * train on behind a notebook's back.
 */
const watch = async (run: TrainRun, { as }: DisplayOptions): Promise<TrainResult> => {
  const output = openCellOutput();
  const events: TrainEvent[] = [];
  const stop = (): void => run.stop("interrupted");
  // A cell's synchronous part runs under Node's own handling of interrupts; a listener added there would end the kernel.
  await Promise.resolve();
  process.once("SIGINT", stop);
  let drawnAt = 0;
  try {
    for await (const event of run) {
      events.push(event);
      if (Date.now() - drawnAt < drawEveryMs && event.type !== "evaluation") continue;
      drawnAt = Date.now();
      output?.(figureForms(trainingFigure(events), as ?? "svg"));
    }
  } finally {
    process.off("SIGINT", stop);
    const figure = trainingFigure(events);
    output?.(figureForms(figure, as));
    if (output === undefined) process.stdout.write(`${figure.text}\n`);
  }
  return run.result;
};

/**
 * Shows something in a tslab notebook's cell, or as text in a terminal: a training run, whose curve is drawn until it
 * ends and whose result is returned; a table, as rows by column name; a figure.
 * @throws MiloraError what the run throws.
 */
export function display(run: TrainRun, options?: DisplayOptions): Promise<TrainResult>;
export function display(value: Table | Figure, options?: DisplayOptions): void;
export function display(
  value: TrainRun | Table | Figure,
  options: DisplayOptions = {},
): Promise<TrainResult> | undefined {
  if ("result" in value) return watch(value, options);
  const output = openCellOutput();
  const isFigure = "vegaLite" in value;
  if (output === undefined) process.stdout.write(`${isFigure ? value.text : tableText(value)}\n`);
  else output(isFigure ? figureForms(value, options.as) : tableForms(value, options.as));
  return undefined;
}
