import { existsSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { table4 } from "../../reproduce/paper-figures.js";
import type { ComparedRow, ComparedTable } from "../../reproduce/compare.js";
import { parseWith } from "../../spec/parse.js";
import { readJsonFile, writeFileAtomic } from "../../util/files.js";
import { openSession } from "../open-session.js";
import { printResult, type CommandContext } from "../output.js";
import { machine, stageProgress } from "./bench-shared.js";
import { tellReproduction, type ReproduceOptions } from "../reproduction.js";

export const speedTarget = "table-4";

const rowSchema = z.object({
  method: z.string(),
  beams: z.int(),
  engine: z.string(),
  tokensPerSecond: z.number(),
  peakBytes: z.number().nullable(),
});
const savedSchema = z.object({
  format: z.literal(1),
  model: z.string(),
  settings: z.object({
    methods: z.array(z.string()),
    topK: z.array(z.int()),
    beams: z.array(z.int()),
    promptTokens: z.int(),
    newTokens: z.int(),
    rounds: z.int(),
    rowSeconds: z.int(),
    peak: z.boolean(),
  }),
  machine: z.record(z.string(), z.unknown()),
  rows: z.array(rowSchema),
});

type Saved = z.output<typeof savedSchema>;

/** The bench of each scale; the paper does not say how long its texts are. */
const settingsOf = (scale: ReproduceOptions["scale"]): Saved["settings"] => ({
  methods: ["base", "dora", "moelora", "milora"],
  topK: [3],
  beams: [1, 3],
  promptTokens: 64,
  newTokens: scale === "paper" ? 128 : 32,
  rounds: scale === "paper" ? 10 : 3,
  rowSeconds: 300,
  peak: true,
});

const measure = async (context: CommandContext, { model, scale }: ReproduceOptions): Promise<Saved> => {
  const settings = settingsOf(scale);
  await using milora = await openSession({ model, device: "auto", dtype: "auto" });
  const { rows } = await milora.benchDecode({ ...settings, signal: context.signal, onProgress: stageProgress() });
  const where = { ...machine(), ...(await milora.placement()) };
  return { format: 1, model, settings, machine: where, rows: rows.map((row) => rowSchema.parse(row)) };
};

const columnsOf = (beams: number): readonly (readonly [string, (row: Saved["rows"][number]) => number | null])[] => {
  const text = `${beams} ${beams === 1 ? "beam" : "beams"}`;
  return [
    [`tokens/s, ${text}`, ({ tokensPerSecond }) => tokensPerSecond],
    [`peak MiB, ${text}`, ({ peakBytes }) => (peakBytes === null ? null : peakBytes / 2 ** 20)],
  ];
};

const comparedColumn = (
  rows: Saved["rows"],
  column: string,
  valueOf: (row: Saved["rows"][number]) => number | null,
): ComparedTable => ({
  column,
  group: null,
  measure: "speed",
  source: table4.source,
  protocols: [],
  rows: rows.map((row): ComparedRow => {
    const paper = table4.rows[row.method]?.[table4.columns.indexOf(column)] ?? null;
    return {
      row: `${row.method} (${row.engine})`,
      ours: valueOf(row),
      range: null,
      seeds: 0,
      before: null,
      paper,
      trainable: null,
      paperTrainable: null,
    };
  }),
});

const differences = ({ settings, machine: where }: Saved): readonly string[] => [
  `Measured here: ${settings.newTokens} tokens behind a prompt of ${settings.promptTokens}, ${settings.rounds} rounds, medians; machine ${JSON.stringify(where)}. The paper measures on an A40 and does not name the lengths.`,
  "Weights of the adapters are made up, at the methods' default settings (the paper's); they change no speed. Trained ones: milora bench decode --adapter.",
  "The order and the ratios may be compared with the paper's, tokens a second and memory not.",
];

/** `milora reproduce table-4`: the decode bench beside the paper's speeds; what was measured before is not measured again. */
export const reproduceSpeed = async (
  context: CommandContext,
  options: ReproduceOptions,
  out: string,
): Promise<number> => {
  if (options.dryRun) {
    const settings = settingsOf(options.scale);
    printResult(context, { bench: settings }, () => [`bench decode with ${JSON.stringify(settings)}`]);
    return 0;
  }
  const file = join(out, "decode.json");
  if (!existsSync(file))
    await writeFileAtomic(file, `${JSON.stringify(await measure(context, options), undefined, 2)}\n`);
  const saved = parseWith(savedSchema, await readJsonFile(file, "the speeds"), { what: "The speeds", file });
  const tables = saved.settings.beams.flatMap((beams) =>
    columnsOf(beams).map(([column, valueOf]) =>
      comparedColumn(
        saved.rows.filter((row) => row.beams === beams),
        column,
        valueOf,
      ),
    ),
  );
  await tellReproduction(context, out, {
    target: speedTarget,
    title: "Table 4: speed of decoding and memory",
    scale: options.scale,
    model: saved.model,
    tables,
    routing: [],
    differences: differences(saved),
    missing: [],
  });
  return 0;
};
