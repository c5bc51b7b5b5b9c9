/** The environment variable that makes our program end when the process that started it does. */
export const endWithParent = "MILORA_END_WITH_PARENT";

/** A run of a sweep ends when the sweep's process does, also when that is killed: their channel then closes. */
export const endWithSweep = (): void => {
  if (process.env[endWithParent] === undefined || process.channel === undefined) return;
  process.once("disconnect", () => process.exit(1));
  process.channel.unref();
};
