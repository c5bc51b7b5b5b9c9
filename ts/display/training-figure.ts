import { basename } from "node:path";
import type { TrainEvent } from "../runs/events.js";
import type { Figure } from "./figure.js";
import { lineFigure, type Point } from "./line-figure.js";

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
      training.push({ x: event.step, y: event.loss });
    if (event.type === "evaluation") dev.push({ x: event.step, y: Math.log(event.perplexity) });
    if (event.type === "finished") stopped = `, stopped by ${event.stoppedBy} after ${event.step} steps`;
  }
  return lineFigure({
    title: `${name} ${method}${stopped}`,
    xTitle: "step",
    yTitle: "nats",
    series: [
      { name: "training loss", points: training },
      { name: "dev loss", points: dev },
    ],
  });
};
