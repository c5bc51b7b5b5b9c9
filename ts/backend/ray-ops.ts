import { z } from "zod";

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

/** Operations on Ray itself. */
export const rayOps = {
  /** What the Ray at an address has to offer; `auto`: that of this machine. */
  inspectRay: { input: z.object({ address: z.string().min(1).default("auto") }), output: rayInspection },
} as const;
