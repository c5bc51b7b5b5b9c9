import { z } from "zod";
import { parseWith } from "../../spec/parse.js";
import { isRecord } from "../../util/records.js";

const ratings = z.object({ mean: z.number().nullable(), scored: z.number(), unscored: z.number() });

const pair = z.object({
  means: z.record(z.string(), z.number().nullable()),
  wins: z.record(z.string(), z.number()),
  ties: z.number(),
  scored: z.number(),
  unscored: z.number(),
});

const breakdown = <Figures extends z.ZodType>(figures: Figures) => ({
  overall: figures,
  turns: z.record(z.string(), figures),
  categories: z.record(z.string(), figures),
});

/** What a report shows of the figures that `milora judge` writes beside its reviews. */
const judgingSchema = z.object({
  task: z.string(),
  judgeModel: z.string(),
  protocol: z.string(),
  methods: z
    .array(
      z.object({
        label: z.string(),
        /** 95 % interval of the mean over the questions; older files have none. */
        interval: z.tuple([z.number(), z.number()]).nullable().default(null),
        ...breakdown(ratings),
      }),
    )
    .default([]),
  pairs: z
    .array(
      z.object({
        methods: z.tuple([z.string(), z.string()]),
        ...breakdown(pair),
        positions: z.object({ first: z.number().nullable(), second: z.number().nullable() }),
      }),
    )
    .default([]),
  missing: z.object({ judgements: z.number() }),
});

/** Ratings of answers by a judge. */
export type JudgingInput = z.output<typeof judgingSchema> & { readonly name: string };

/** A judge's figures in a file; nothing where it is something else. */
export const judgingOf = (value: unknown, file: string, name: string): JudgingInput | undefined =>
  isRecord(value) && "judgeModel" in value
    ? { ...parseWith(judgingSchema, value, { what: "The judge's figures", file }), name }
    : undefined;
