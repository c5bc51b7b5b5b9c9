import type { OnProgress } from "../bridge/environment/index.js";
import { type CellOutput, isNotebook, openCellOutput } from "../util/notebook.js";

interface CellHooks {
  readonly onLog?: (line: { readonly level: string; readonly text: string }) => void;
  readonly onProgress?: OnProgress;
}

/** What a notebook shows where its author takes nothing: Python's lines, and how far the set-up is, in one place. */
export const cellHooks = (): CellHooks => {
  if (!isNotebook()) return {};
  let output: CellOutput | undefined;
  return {
    onLog: ({ level, text }) => {
      const stream = level === "warning" || level === "error" ? process.stderr : process.stdout;
      stream.write(`${text}\n`);
    },
    onProgress: ({ message, elapsedSeconds }) => {
      output ??= openCellOutput();
      output?.({ "text/plain": `milora: ${message} (${Math.round(elapsedSeconds)} s)` });
    },
  };
};
