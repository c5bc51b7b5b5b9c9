import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { basename, join } from "node:path";
import { z } from "zod";
import { manifestSchema, runFormatVersion } from "../../runs/manifest.js";
import { routingRecordSchema } from "../../runs/routing-record.js";
import { runFolder, type RunFolder } from "../../runs/run-folder.js";
import { parseWith } from "../../spec/parse.js";
import { readJsonFile } from "../../util/files.js";
import { isRecord } from "../../util/records.js";
import { counted } from "../../util/text.js";
import type { ReportResult, RoutingInput, RunInput } from "./inputs.js";
import type { ProblemList } from "./problems.js";
import { noCurves, readCurves } from "./read-events.js";
import { judgingOf, type JudgingInput } from "./read-judging.js";
import { resultsOf } from "./read-result.js";
import { routingInputs } from "./read-routing.js";

const orNull = <Schema extends z.ZodType>(schema: Schema) => schema.nullable().catch(null);

/** What a report shows of `run.json`, each field by itself, whatever version wrote it. */
const shownFields = z.object({
  state: orNull(z.string()),
  device: orNull(z.string()),
  dtype: orNull(z.string()),
  step: orNull(z.number()),
  stoppedBy: orNull(z.string()),
  best: orNull(z.object({ step: z.number(), devPerplexity: z.number() })),
  tokensPerSecond: orNull(z.number()),
  parameters: orNull(
    z.object({
      trainable: z.number(),
      activated: z.object({ min: z.number(), mean: z.number(), max: z.number() }),
    }),
  ),
});

const shownSpec = z.object({
  model: orNull(z.string()),
  method: z.record(z.string(), z.unknown()).catch({}),
  data: z.object({ task: orNull(z.string()) }).catch({ task: null }),
  train: z.object({ seed: orNull(z.number()) }).catch({ seed: null }),
});

/** Why a record is not wholly of this version's form; nothing where it is. */
const checkManifest = async (value: unknown, file: string): Promise<void> => {
  parseWith(manifestSchema.extend({ format: z.literal(runFormatVersion) }), value, { what: "The run record", file });
};

const readManifest = async ({ manifest }: RunFolder, problems: ProblemList): Promise<Record<string, unknown>> => {
  const value = await problems.attempt(manifest, () => readJsonFile(manifest, "the run record"));
  if (value === undefined) return {};
  await problems.attempt(manifest, () => checkManifest(value, manifest));
  return isRecord(value) ? value : {};
};

const readEvents = async ({ events }: RunFolder, problems: ProblemList): Promise<RunInput["curves"]> => {
  const read = await problems.attempt(events, () => readCurves(events));
  if (read === undefined) return noCurves;
  const { curves, unread } = read;
  if (unread.length > 0)
    problems.add(events, `${counted(unread.length, "line")} could not be read, the first is line ${unread[0]}.`);
  return curves;
};

/** What the JSON files of a folder hold. */
const readEach = async <Item>(
  folder: string,
  problems: ProblemList,
  read: (value: unknown, file: string) => readonly Item[],
): Promise<readonly Item[]> => {
  const names = existsSync(folder) ? await readdir(folder) : [];
  const items: Item[] = [];
  for (const name of names.filter((each) => each.endsWith(".json")).toSorted()) {
    const file = join(folder, name);
    items.push(...((await problems.attempt(file, async () => read(await readJsonFile(file), file))) ?? []));
  }
  return items;
};

const judgingInRun =
  (run: string) =>
  (value: unknown, file: string): readonly JudgingInput[] => {
    const judging = judgingOf(value, file, run);
    return judging === undefined ? [] : [judging];
  };

const routingInRun =
  (run: string) =>
  (value: unknown, file: string): readonly RoutingInput[] =>
    routingInputs(parseWith(routingRecordSchema, value, { what: "The routing figures", file }), run);

/** Reads what can be read of a run's folder; the rest is noted. */
export const readRun = async (root: string, problems: ProblemList, name = basename(root)): Promise<RunInput> => {
  const folder = runFolder(root);
  const manifest = await readManifest(folder, problems);
  const { model, method, data, train } = shownSpec.parse(isRecord(manifest["spec"]) ? manifest["spec"] : {});
  return {
    name,
    ...shownFields.parse(manifest),
    model,
    method,
    task: data.task,
    seed: train.seed,
    curves: await readEvents(folder, problems),
    results: await readEach<ReportResult>(folder.results, problems, resultsOf),
    judgings: await readEach(folder.judgings, problems, judgingInRun(name)),
    routing: await readEach(folder.routing, problems, routingInRun(name)),
  };
};
