import type { TrainEvent } from "../runs/events.js";
import type { TrainResult, TrainRun } from "../train/run-handle.js";
import type { Figure } from "./figure.js";
import { openCellOutput } from "./notebook.js";
import { tableHtml, tableText, type Table } from "./table.js";
import { trainingFigure } from "./training-figure.js";

/** How something is shown in a notebook; a terminal always shows text. */
export interface DisplayOptions {
  /** `svg` by default, which every notebook shows; `vega-lite` can be zoomed and exported where it is known. */
  readonly as?: "svg" | "vega-lite" | "text" | undefined;
}

const vegaLiteMime = "application/vnd.vegalite.v5+json";

/** A figure's mime type and data. */
const formOf = (figure: Figure, as: DisplayOptions["as"] = "svg"): readonly [mimeType: string, data: unknown] => {
  switch (as) {
    case "svg":
      return ["image/svg+xml", figure.svg];
    case "vega-lite":
      return [vegaLiteMime, figure.vegaLite];
    case "text":
      return ["text/plain", figure.text];
  }
};

/** Milliseconds between two drawings of a curve. */
const drawEveryMs = 500;

/**
 * Draws a run's curve while it trains. An interrupt of the cell or of the program stops the run after the step in
 * progress, saved; without this it would train on behind a notebook's back.
 */
const watch = async (run: TrainRun, options: DisplayOptions): Promise<TrainResult> => {
  const output = openCellOutput();
  const events: TrainEvent[] = [];
  const draw = (): void => output?.(...formOf(trainingFigure(events), options.as));
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
      draw();
    }
  } finally {
    process.off("SIGINT", stop);
    draw();
    if (output === undefined) process.stdout.write(`${trainingFigure(events).text}\n`);
  }
  return run.result;
};

const show = (mimeType: string, data: unknown, text: string): void => {
  const output = openCellOutput();
  if (output === undefined) process.stdout.write(`${text}\n`);
  else output(mimeType, data);
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
  if ("svg" in value) show(...formOf(value, options.as), value.text);
  else if (options.as === "text") show("text/plain", tableText(value), tableText(value));
  else show("text/html", tableHtml(value), tableText(value));
  return undefined;
}
