import type { TrainEvent } from "../runs/events.js";
import { createProgress, type Progress, type ProgressStream } from "../util/progress.js";

type EventOf<Type extends TrainEvent["type"]> = Extract<TrainEvent, { type: Type }>;

const figure = (name: string, value: number | null, digits: number): string =>
  `${name} ${value === null ? "not finite" : value.toFixed(digits)}`;

const perplexityOf = ({ perplexity }: EventOf<"evaluation">): string => figure("dev perplexity", perplexity, 3);

const firstLine = (event: EventOf<"started">): string => {
  const { train, dev } = event.rows;
  return (
    `${event.method} on ${event.model} (${event.device}, ${event.dtype}): ${event.trainable.toLocaleString("en")} parameters train, ` +
    `${train} training rows, ${dev} dev rows (${event.devSource}), ${event.steps} steps\n`
  );
};

/** What stays as a line of its own above the progress line. */
const noteOf = (
  event: EventOf<"phase" | "pruned" | "evaluation" | "skipped" | "microBatch" | "stalled" | "warning">,
): string => {
  switch (event.type) {
    case "phase":
      return `phase ${event.index + 1} of ${event.of}: ${event.name}, ${event.steps} steps, ${event.trainable.toLocaleString("en")} parameters train`;
    case "pruned":
      return `step ${event.step}: at most ${event.left} left at a place`;
    case "evaluation":
      return `step ${event.step}: ${perplexityOf(event)}${event.best ? " (best so far)" : ""}`;
    case "skipped":
      return (
        `warning: step ${event.step}: loss or gradient is not finite, the update was skipped (${event.total} so far); ` +
        `rows: ${event.file}, ${event.lines.length} from line ${event.lines[0]} on`
      );
    case "microBatch":
      return event.from === null
        ? `${event.to} rows fit into memory at once`
        : `step ${event.step}: memory ran out with ${event.from} rows at once; going on with ${event.to}`;
    case "stalled":
      return `warning: no step for ${event.minutes} minutes (during: ${event.during}), after step ${event.step}`;
    case "warning":
      return `warning: ${event.message}`;
  }
};

/** Draws a run's events on a stream: one line that redraws on a terminal, plain lines elsewhere. */
export const trainProgress = (stream: ProgressStream): ((event: TrainEvent) => void) => {
  let progress: Progress | undefined;
  let phase = "";
  let perplexity = "";
  let tokens = 0;
  let startedAt = 0;
  const onStarted = (event: EventOf<"started">): void => {
    stream.write(firstLine(event));
    startedAt = performance.now();
    const start = event.resumedAt ?? 0;
    progress = createProgress({ stream, label: "step", total: event.steps, unit: "step", start });
  };
  const onStep = (event: EventOf<"step">): void => {
    if (event.kind !== "weights") return;
    tokens += event.tokens;
    const rate = tokens / ((performance.now() - startedAt) / 1000);
    const balance = event.balance !== null && event.balance > 0 ? figure("balance", event.balance, 2) : "";
    const parts = [phase, figure("loss", event.loss, 3), balance, perplexity, `${rate.toFixed(0)} tokens/s`];
    progress?.update(event.step, parts.filter((part) => part !== "").join(" · "));
  };
  return (event) => {
    switch (event.type) {
      case "started":
        onStarted(event);
        break;
      case "step":
        onStep(event);
        break;
      case "phase":
      case "pruned":
      case "evaluation":
      case "skipped":
      case "microBatch":
      case "stalled":
      case "warning":
        if (event.type === "phase") phase = event.name;
        if (event.type === "evaluation") perplexity = perplexityOf(event);
        progress?.note(noteOf(event));
        break;
      case "finished":
        progress?.close();
        break;
      case "checkpoint":
        break;
    }
  };
};
