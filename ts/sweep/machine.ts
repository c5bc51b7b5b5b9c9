import { writeFileSync } from "node:fs";
import { availableParallelism, cpus } from "node:os";
import type { Machine } from "../runs/sweep-record.js";

/** The environment variable that names the file in which a run of a sweep tells the machine that it is on. */
export const machineFile = "MILORA_MACHINE_FILE";

/** What this process computes with. */
export const thisMachine = (): Machine => ({
  cores: availableParallelism(),
  processor: cpus()[0]?.model.trim() ?? "unknown",
  platform: `${process.platform}-${process.arch}`,
  node: process.versions.node,
});

/** A run of a sweep says where it is, where the sweep asks for it. */
export const tellMachine = (): void => {
  const file = process.env[machineFile];
  if (file !== undefined && file !== "") writeFileSync(file, JSON.stringify(thisMachine()));
};
