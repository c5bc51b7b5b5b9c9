import type { TrainEvent } from "../runs/events.js";
import { createProgress, type Progress, type ProgressStream } from "../util/progress.js";

const figure = (name: string, value: number | null, digits: number): string =>
  `${name} ${value === null ? "not finite" : value.toFixed(digits)}`;

/** Draws a run's events on a stream: one line that redraws on a terminal, plain lines elsewhere. */
export const trainProgress = (stream: ProgressStream): ((event: TrainEvent) => void) => {
  let progress: Progress | undefined;
  let perplexity = "";
  let tokens = 0;
  let startedAt = 0;
  const onStep = (event: Extract<TrainEvent, { type: "step" }>): void => {
    if (event.kind !== "weights") return;
    tokens += event.tokens;
    const rate = tokens / ((performance.now() - startedAt) / 1000);
    const parts = [figure("loss", event.loss, 3)];
    if (event.balance !== null && event.balance > 0) parts.push(figure("balance", event.balance, 2));
    if (perplexity !== "") parts.push(perplexity);
    parts.push(`${rate.toFixed(0)} tokens/s`);
    progress?.update(event.step, parts.join(" · "));
  };
  return (event) => {
    switch (event.type) {
      case "started": {
        const { train, dev } = event.rows;
        stream.write(
          `${event.method} on ${event.model} (${event.device}, ${event.dtype}): ${event.trainable.toLocaleString("en")} parameters train, ` +
            `${train} training rows, ${dev} dev rows (${event.devSource}), ${event.steps} steps\n`,
        );
        startedAt = performance.now();
        progress = createProgress({
          stream,
          label: "step",
          total: event.steps,
          unit: "step",
          start: event.resumedAt ?? 0,
        });
        break;
      }
      case "step":
        onStep(event);
        break;
      case "evaluation":
        perplexity = figure("dev perplexity", event.perplexity, 3);
        progress?.note(`step ${event.step}: ${perplexity}${event.best ? " (best so far)" : ""}`);
        break;
      case "warning":
        progress?.note(`warning: ${event.message}`);
        break;
      case "finished":
        progress?.close();
        break;
      case "checkpoint":
        break;
    }
  };
};
