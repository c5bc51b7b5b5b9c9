import { dirname, resolve } from "node:path";
import { z } from "zod";
import { resultFormatVersion, type ResultRecord } from "../runs/result-record.js";
import { runFolder } from "../runs/run-folder.js";
import { readJsonFile } from "../util/files.js";
import type { ModelSession } from "./session.js";

const trainedBy = z.object({
  spec: z.object({ train: z.object({ seed: z.int() }).catchall(z.json()) }).catchall(z.json()),
  plan: z.string().optional(),
});

/** The run whose folder holds the adapter; undefined where it lies elsewhere. A score needs no readable run. */
const runOf = async (adapter: string): Promise<z.output<typeof trainedBy> | undefined> => {
  const manifest = await readJsonFile(runFolder(dirname(adapter)).manifest).catch(() => undefined);
  return trainedBy.safeParse(manifest).data;
};

/** What a session's results are made with. `adapter`: its folder; undefined for the base model. */
export const resultRecord = async (
  session: Pick<ModelSession, "opened" | "versions">,
  {
    model,
    seed,
    quantization,
    adapter,
  }: Pick<ResultRecord, "model" | "seed" | "quantization"> & { readonly adapter: string | undefined },
): Promise<Omit<ResultRecord, "date">> => {
  const { device, dtype } = await session.opened();
  const folder = adapter === undefined ? null : resolve(adapter);
  const run = folder === null ? undefined : await runOf(folder);
  return {
    format: resultFormatVersion,
    model,
    adapter: folder,
    seed,
    trainingSeed: run?.spec.train.seed ?? null,
    spec: run?.spec ?? null,
    plan: run?.plan ?? null,
    device,
    dtype,
    quantization,
    versions: await session.versions(),
  };
};
