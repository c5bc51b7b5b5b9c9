import { MiloraError } from "../errors.js";
import { decide, type Loop } from "./loop.js";
import type { StepFigures } from "./step-figures.js";

const shownLines = 16;

const fileOf = (data: "train" | "dev"): string => `data/${data}.jsonl`;

const linesOf = (rows: readonly number[]): readonly number[] => rows.map((row) => row + 1).toSorted((a, b) => a - b);

const textOf = (file: string, lines: readonly number[]): string => {
  const more = lines.length > shownLines ? `, … (${lines.length} in all)` : "";
  return `${file}, ${lines.length === 1 ? "line" : "lines"} ${lines.slice(0, shownLines).join(", ")}${more}`;
};

/** An update that was skipped is counted and told with its rows; too many in a row end the run. */
const countSkipped = async ({ trainer, progress: { skipped }, emit }: Loop, figures: StepFigures): Promise<void> => {
  const { step, kind, rows, answerTokens, loss, gradientNorm } = figures;
  if (answerTokens === 0) return;
  if (loss !== null && gradientNorm !== null) {
    skipped.inARow[kind] = 0;
    return;
  }
  skipped.total += 1;
  skipped.inARow[kind] += 1;
  const data = kind === "weights" ? "train" : "dev";
  const guilty = await trainer.nonFiniteRows(data, rows);
  const file = fileOf(data);
  const lines = linesOf(guilty.length > 0 ? guilty : rows);
  emit({ type: "skipped", step, kind, file, lines, total: skipped.total });
  const limit = trainer.settings.nonFiniteLimit;
  if (skipped.inARow[kind] < limit) return;
  throw new MiloraError(
    "training/non-finite",
    `Loss or gradient was not finite in ${limit} updates of the ${kind} in a row, up to step ${step}. The rows of the last: ${textOf(file, lines)}.`,
    {
      file,
      line: lines[0],
      hint: "Look at the rows, lower train.learningRate or try train.dtype float32; the checkpoints and the best adapter are kept.",
    },
  );
};

/** Reads the figures of the steps since the last time, tells them, and looks at each. */
export const readFigures = async (loop: Loop): Promise<void> => {
  for (const figures of await loop.trainer.figures()) {
    const { rows: _rows, ...told } = figures;
    const event = { type: "step", ...told } as const;
    loop.emit(event);
    if (figures.kind === "weights") loop.progress.tokens += figures.tokens;
    await countSkipped(loop, figures);
    await decide(loop, event);
  }
};

/** A dev set whose loss is not finite, with its rows named; any other error as it is. */
export const withDevRows = async ({ trainer }: Loop, error: unknown): Promise<unknown> => {
  if (!MiloraError.isInstance(error) || error.code !== "training/non-finite") return error;
  const lines = linesOf(await trainer.nonFiniteRows("dev"));
  if (lines.length === 0) return error;
  const file = fileOf("dev");
  return new MiloraError("training/non-finite", `The dev loss is not finite: ${textOf(file, lines)}.`, {
    file,
    line: lines[0],
    cause: error,
    hint: "Look at these rows; the checkpoints and the best adapter are kept.",
  });
};
