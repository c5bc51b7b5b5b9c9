import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { appendFile, mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";

const common = { index: z.int(), prompt: z.string() };

/** Log-likelihoods, in nats, of a row's choices. */
const likelihoodRecord = z.object({
  kind: z.literal("likelihoods"),
  ...common,
  choices: z.array(z.string()),
  ours: z.array(z.number()),
  harness: z.array(z.number()),
  /** Whether greedy decoding would give the choice, by the harness. */
  greedy: z.array(z.boolean()),
  sameTokens: z.array(z.boolean()),
});

/** What a model wrote after a row's prompt. */
const textRecord = z.object({ kind: z.literal("texts"), ...common, ours: z.string(), harness: z.string() });

const agreementRecord = z.discriminatedUnion("kind", [likelihoodRecord, textRecord]);

export type LikelihoodRecord = z.infer<typeof likelihoodRecord>;
export type TextRecord = z.infer<typeof textRecord>;
export type AgreementRecord = z.infer<typeof agreementRecord>;

/** What one row gave on both sides, kept in a file, so that a run can go on where it was stopped. */
export interface RecordFile {
  /** The rows that are there, by index. */
  readonly read: () => Promise<ReadonlyMap<number, AgreementRecord>>;
  readonly append: (records: readonly AgreementRecord[]) => Promise<void>;
}

const parsed = (line: string): readonly AgreementRecord[] => {
  try {
    return [agreementRecord.parse(JSON.parse(line))];
  } catch (error) {
    // The end of a line whose writing was stopped.
    if (error instanceof SyntaxError) return [];
    throw error;
  }
};

/** `settings`: all that decides the records; others are kept in another file. */
export const recordFile = (folder: string, name: string, settings: object): RecordFile => {
  const key = createHash("sha256").update(JSON.stringify(settings)).digest("hex").slice(0, 12);
  const file = join(folder, `${name}-${key}.jsonl`);
  return {
    read: async () => {
      if (!existsSync(file)) return new Map();
      const lines = (await readFile(file, "utf8")).split("\n").filter((line) => line !== "");
      return new Map(lines.flatMap(parsed).map((record) => [record.index, record]));
    },
    append: async (records) => {
      await mkdir(folder, { recursive: true });
      await appendFile(file, records.map((record) => `${JSON.stringify(record)}\n`).join(""));
    },
  };
};
