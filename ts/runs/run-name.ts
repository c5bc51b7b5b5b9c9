import { randomBytes } from "node:crypto";

/** A new run's name: its second in UTC, so that names sort by time, and what tells runs of one second apart. */
export const newRunName = (now = new Date()): string =>
  `run-${now.toISOString().replaceAll(/[:.]/g, "-").slice(0, 19)}-${randomBytes(3).toString("hex")}`;
