import { openBackend } from "../../../ts/bridge/index.js";
import { evaluate } from "../../../ts/evaluate/evaluate.js";
import type { ScoredRow } from "../../../ts/evaluate/result.js";
import type { AgreementCase, AgreementRow } from "./cases.js";

/** milora's own evaluation of some rows of a case. */
export interface Ours extends AsyncDisposable {
  /** The checkpoint's folder. */
  readonly base: string;
  readonly evaluate: (
    of: AgreementCase,
    rows: readonly AgreementRow[],
    maxNewTokens?: number,
  ) => Promise<readonly ScoredRow[]>;
}

const adapterName = "compared";

/** Opens a model in float32, with an adapter's folder or without. Errors: the backend's. */
export const openOurs = async (options: {
  readonly python: string;
  readonly model: string;
  readonly adapter?: string | undefined;
}): Promise<Ours> => {
  const { python, model, adapter: folder } = options;
  const backend = await openBackend({ python });
  const { location } = await backend.call("describeModel", { model });
  await backend.call("openModel", { model, device: "cpu", dtype: "float32" });
  if (folder !== undefined) await backend.call("loadAdapter", { adapter: adapterName, folder });
  const adapter = folder === undefined ? null : adapterName;
  return {
    base: location,
    evaluate: async ({ task, template, scorer }, rows, maxNewTokens) => {
      const part = { ...task, load: async () => rows.map(({ example }) => example) };
      const { rows: scored } = await evaluate({ backend, adapter, task: part, template, scorer, maxNewTokens });
      return scored;
    },
    [Symbol.asyncDispose]: async () => backend.close(),
  };
};
