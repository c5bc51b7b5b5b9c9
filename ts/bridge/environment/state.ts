import { existsSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { writeFileAtomic } from "../../util/files.js";
import { readJsonIfThere } from "../../util/files.js";

/** The stages of an environment, in order; each is recorded when it is done. */
export const stageNames = ["venv", "packages", "demo", "dev"] as const;
export type StageName = (typeof stageNames)[number];

const stateSchema = z.object({
  version: z.literal(1),
  stages: z.partialRecord(
    z.enum(stageNames),
    z.object({
      /** What the stage was made from: a checksum of its lock file. */
      key: z.string(),
      finished: z.string(),
    }),
  ),
});

export type EnvironmentState = z.output<typeof stateSchema>;

export const emptyState: EnvironmentState = { version: 1, stages: {} };

/** The folder of one environment: venv/, state.json, pip.log. */
export const venvFolder = (folder: string): string => join(folder, "venv");
export const venvPython = (folder: string): string => join(folder, "venv", "bin", "python");
export const pipLog = (folder: string): string => join(folder, "pip.log");
const stateFile = (folder: string): string => join(folder, "state.json");

/** What is done. A missing or garbled file, or a venv without its interpreter, means that nothing is. */
export const readState = (folder: string): EnvironmentState => {
  const parsed = stateSchema.safeParse(readJsonIfThere(stateFile(folder)));
  return parsed.success && existsSync(venvPython(folder)) ? parsed.data : emptyState;
};

export const writeState = (folder: string, state: EnvironmentState): Promise<void> =>
  writeFileAtomic(stateFile(folder), `${JSON.stringify(state, null, 2)}\n`);

/** The state after a stage was done with this key. */
export const withStage = (state: EnvironmentState, stage: StageName, key: string): EnvironmentState => ({
  ...state,
  stages: { ...state.stages, [stage]: { key, finished: new Date().toISOString() } },
});
