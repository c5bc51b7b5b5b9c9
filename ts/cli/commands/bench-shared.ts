import { arch, cpus, platform } from "node:os";
import { z } from "zod";
import { createProgress, type Progress } from "../../util/progress.js";
import { commaList } from "../comma-list.js";

/** An option's numbers, separated by commas. */
export const numberList = (least: number) =>
  commaList.transform((parts) => parts.map(Number)).pipe(z.array(z.int().min(least)).min(1));

/** Options that every bench has. */
export const benchOptions = {
  model: z.string(),
  methods: commaList,
  rounds: z.int().min(1),
  device: z.string(),
  dtype: z.enum(["auto", "float32", "bfloat16", "float16"]),
};

/** Options of the benches that write texts. */
export const textOptions = {
  ...benchOptions,
  promptTokens: z.int().min(1),
  newTokens: z.int().min(3),
  rowSeconds: z.number().positive(),
};

/** A line a stage, with the time left. */
export const stageProgress = (unit?: string) => {
  let current: { readonly stage: string; readonly line: Progress } | undefined;
  return (stage: string, done: number, total: number): void => {
    if (current?.stage !== stage) {
      current?.line.close();
      current = { stage, line: createProgress({ stream: process.stderr, label: stage, total, unit }) };
    }
    current.line.update(done);
    if (done >= total) current.line.close();
  };
};

/** The machine that a figure belongs to. */
export const machine = () => ({
  cpu: cpus()[0]?.model.trim() ?? "unknown",
  cores: cpus().length,
  system: `${platform()} ${arch()}`,
});

/** A cell of a ratio. */
export const ratioCell = (ratio: number | null): string => (ratio === null ? "-" : ratio.toFixed(2));

/** A cell of a memory size, in MiB. */
export const mebibyteCell = (bytes: number | null): string => (bytes === null ? "-" : (bytes / 2 ** 20).toFixed(0));

/** What a reader must know about texts that were cut short, differ between engines, or come from the slow path. */
export const textRemarks = (
  rows: readonly { readonly newTokens: number; readonly sameTokens: boolean | null }[],
  { newTokens, dtype, slowBecause }: { newTokens: number; dtype: string; slowBecause: string | null },
): readonly string[] => {
  const cut = rows.filter((row) => row.newTokens < newTokens).length;
  const differing = rows.filter(({ sameTokens }) => sameTokens === false).length;
  const meaning = dtype === "float32" ? "which must not be" : `as rounding in ${dtype} can make them`;
  return [
    ...(cut === 0 ? [] : [`The time of ${cut} rows ran out before ${newTokens} tokens (--row-seconds).`]),
    ...(differing === 0
      ? []
      : [`Different tokens from the other engine in ${differing} of ${rows.length} rows, ${meaning}.`]),
    ...(slowBecause === null ? [] : [`The engine runs this model through transformers' forward pass: ${slowBecause}`]),
  ];
};

/** A cell that says whether both engines wrote the same tokens. */
export const sameCell = (sameTokens: boolean | null): string =>
  sameTokens === null ? "-" : sameTokens ? "yes" : "NO";
