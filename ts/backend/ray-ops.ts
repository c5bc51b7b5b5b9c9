import { z } from "zod";
import { sweepRaySchema } from "../spec/ray.js";
import { count } from "./fields.js";

const amount = z.object({ total: z.number(), free: z.number() });

/** What `inspectRay` tells of a Ray. */
export const rayInspection = z.object({
  version: z.string(),
  /** The head's host and port. */
  address: z.string(),
  cpus: amount,
  gpus: amount,
  /** Each node, with what keeps a rank from running there: other versions, no milora. */
  nodes: z.array(z.object({ host: z.string(), problems: z.array(z.string()) })),
});

/** Programs that one task runs, one after another, each only where the one before ended with 0. */
const rayTask = z.object({
  id: z.string(),
  programs: z.array(z.object({ command: z.array(z.string()).min(1), log: z.string() })).min(1),
  /** Where they run; logs grow in `folder`. Both must be there on every node. */
  directory: z.string(),
  folder: z.string(),
  /** Variables besides those of the node and of this process's session. */
  environment: z.record(z.string(), z.string()).default({}),
});

const programEnd = z.object({
  /** Null where a signal ended it. */
  exitCode: z.int().nullable(),
  signal: z.string().nullable(),
  stdout: z.string(),
  stderr: z.string(),
});

const taskEvent = z.discriminatedUnion("type", [
  z.object({ type: z.literal("started"), id: z.string(), host: z.string() }),
  /** Of the programs that were started, in their order; none where the task was stopped before. */
  z.object({ type: z.literal("ended"), id: z.string(), ends: z.array(programEnd) }),
  /** The node is gone, or the process that ran the task. */
  z.object({ type: z.literal("lost"), id: z.string(), reason: z.string() }),
]);

/** Operations on Ray itself. */
export const rayOps = {
  /** What the Ray at an address has to offer; `auto`: that of this machine. */
  inspectRay: { input: z.object({ address: z.string().min(1).default("auto") }), output: rayInspection },
  /** Joins a Ray, so that programs can be run as its tasks, each with these resources. */
  rayTasksOpen: {
    input: sweepRaySchema,
    output: z.object({ address: z.string(), nodes: count, cpusPerRun: z.number(), gpusPerRun: z.number() }),
  },
  /**
   * Gives Ray tasks, asks some to end (a running program gets one SIGINT), and tells what became of them: at once where
   * there is news, else within `seconds`.
   */
  rayTasksTurn: {
    input: z.object({
      start: z.array(rayTask).default([]),
      stop: z.array(z.string()).default([]),
      seconds: z.number().min(0).default(0),
    }),
    output: z.object({ events: z.array(taskEvent) }),
  },
  /** Leaves Ray; tasks that are left end. */
  rayTasksClose: { input: z.object({}), output: z.object({}) },
} as const;

export type RayTask = z.output<typeof rayTask>;
export type RayTaskEvent = z.output<typeof taskEvent>;
