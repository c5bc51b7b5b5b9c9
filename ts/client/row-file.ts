import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { SessionRunInput, TrainInput } from "./options.js";
import type { ModelSession } from "./session.js";

/** Rows that a Python iterable holds are written to a file once; a spec names files. */
export const withRowFile = async (session: ModelSession, spec: TrainInput): Promise<SessionRunInput> => {
  if (!("python" in spec.data)) return { ...spec, data: spec.data };
  const { python, ...rest } = spec.data;
  const train = join(await mkdtemp(join(tmpdir(), "milora-rows-")), "rows.jsonl");
  const backend = await session.backend();
  const object = await backend.session.adopt(python);
  try {
    await backend.call("exportRows", { object, file: train });
  } finally {
    await backend.session.release(object);
  }
  return { ...spec, data: { ...rest, train } };
};
