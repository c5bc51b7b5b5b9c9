import { existsSync } from "node:fs";
import { join, relative } from "node:path";
import { z } from "zod";
import type { ComparedTable } from "../../reproduce/compare.js";
import type { SweepJobRecord } from "../../runs/sweep-record.js";
import { parseWith } from "../../spec/parse.js";
import { jobPlaces } from "../../sweep/run-job.js";
import { readJsonFile } from "../../util/files.js";
import { median } from "../../util/statistics.js";

const judgedTask = "mt-bench";

/** What `milora judge` writes beside its reviews. */
const figuresSchema = z.object({
  judge: z.unknown().optional(),
  protocol: z.string(),
  methods: z.array(z.object({ label: z.string(), overall: z.object({ mean: z.number().nullable() }) })).default([]),
});

const labelOf = ({ row, seed }: SweepJobRecord): string => `${row}-seed-${seed ?? 0}`;

const commandOf = (records: readonly SweepJobRecord[], out: string, reviews: string): string => {
  const runs = records.map((job) => `${labelOf(job)}=${jobPlaces(out, job.id).run}`);
  const shown = runs.map((text) => text.replace(out, relative(process.cwd(), out) || "."));
  return `milora judge ${shown.join(" ")} --endpoint <url> --judge-model <name> --out ${relative(process.cwd(), reviews)}`;
};

/** MT-Bench's column with the judge's mean scores, of 10, in place of accuracies. */
const withScores = (table: ComparedTable, means: ReadonlyMap<string, number>, protocol: string): ComparedTable => ({
  ...table,
  measure: "score of 10",
  protocols: [...table.protocols, protocol],
  rows: table.rows.map((row) => {
    const values = [...means].flatMap(([label, mean]) => (label.startsWith(`${row.row}-seed-`) ? [mean] : []));
    return {
      ...row,
      ours: values.length === 0 ? null : median(values),
      range: values.length < 2 ? null : ([Math.min(...values), Math.max(...values)] as const),
      seeds: values.length,
      before: null,
    };
  }),
});

/**
 * The answers that a judge has to rate: its scores where `milora judge` has been asked, else what is missing and the
 * command that gets it.
 */
export const judgedRows = async (
  tables: readonly ComparedTable[],
  { records, out }: { readonly records: readonly SweepJobRecord[]; readonly out: string },
): Promise<{ readonly tables: readonly ComparedTable[]; readonly missing: readonly string[] }> => {
  const answered = records.filter(
    ({ kind, state, tasks }) => kind === "run" && state === "finished" && tasks.includes(judgedTask),
  );
  if (answered.length === 0) return { tables, missing: [] };
  const reviews = join(out, `${judgedTask}.jsonl`);
  const file = join(out, `${judgedTask}.json`);
  if (!existsSync(file))
    return {
      tables,
      missing: [
        `MT-Bench's answers are there, but no judge has rated them. Run: ${commandOf(answered, out, reviews)}`,
      ],
    };
  const read = parseWith(figuresSchema, await readJsonFile(file, "the judge's figures"), {
    what: "The figures",
    file,
  });
  const means = new Map(
    read.methods.flatMap(({ label, overall }) => (overall.mean === null ? [] : [[label, overall.mean] as const])),
  );
  const judged = tables.map((table) =>
    table.column === judgedTask ? withScores(table, means, read.protocol) : table,
  );
  return { tables: judged, missing: [] };
};
