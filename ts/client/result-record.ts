import { dirname, resolve } from "node:path";
import { z } from "zod";
import type { ResultRecord } from "../runs/result-record.js";
import { runFolder } from "../runs/run-folder.js";
import { readJsonFile } from "../util/files.js";
import type { ModelSession } from "./session.js";

const seedOfRun = z.object({ spec: z.object({ train: z.object({ seed: z.int() }) }) });

/** The seed of the run whose folder holds the adapter; null where it lies elsewhere. A score needs no readable run. */
const trainingSeedOf = async (adapter: string): Promise<number | null> => {
  const manifest = await readJsonFile(runFolder(dirname(adapter)).manifest).catch(() => undefined);
  return seedOfRun.safeParse(manifest).data?.spec.train.seed ?? null;
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
  return {
    model,
    adapter: folder,
    seed,
    trainingSeed: folder === null ? null : await trainingSeedOf(folder),
    device,
    dtype,
    quantization,
    versions: await session.versions(),
  };
};
