import { basename } from "node:path";
import { curveFigure } from "../report/figures/curve-figure.js";
import type { TrainEvent } from "../runs/events.js";
import { type Figure, notebookFigure } from "./figure.js";
import { shortNumber } from "./table.js";

interface Point {
  readonly step: number;
  readonly value: number;
}

const lastOf = (points: readonly Point[]): string => {
  const last = points.at(-1);
  return last === undefined ? "-" : `${shortNumber(last.value)} at step ${last.step}`;
};

/** More points than these look the same and make a notebook heavy. */
const maxPoints = 800;

/**
 * Training loss and dev loss of a run over its steps, in nats an answer token. The dev loss is the logarithm of the dev
 * perplexity, so that both stand on one axis.
 */
export const trainingFigure = (events: readonly TrainEvent[]): Figure => {
  const training: Point[] = [];
  const dev: Point[] = [];
  let [name, method, stopped] = ["training", "", ""];
  for (const event of events) {
    if (event.type === "started") [name, method] = [basename(event.run), event.method];
    if (event.type === "step" && event.kind === "weights" && event.loss !== null)
      training.push({ step: event.step, value: event.loss });
    if (event.type === "evaluation") dev.push({ step: event.step, value: Math.log(event.perplexity) });
    if (event.type === "finished") stopped = `, stopped by ${event.stoppedBy} after ${event.step} steps`;
  }
  const title = `${name} ${method}${stopped}`;
  const text = `${title}\n  training loss: ${lastOf(training)}\n  dev loss: ${lastOf(dev)}`;
  const curve = (series: string, points: readonly Point[]) => ({ series, run: name, points });
  const figure = curveFigure({
    title,
    caption: "",
    yTitle: "nats an answer token",
    curves: [curve("training loss", training), curve("dev loss", dev)],
    maxPoints,
  });
  return notebookFigure({ title, figure, layout: { width: 560, height: 260 }, text });
};
