import { z } from "zod";

/** By expert. */
const figures = z.record(z.string(), z.number());

/** How an adapter routes a task's prompts: `routing/<task>.json` of its run, and what `milora routing --json` prints. */
export const routingFiguresSchema = z.object({
  /** The task whose prompts they are. */
  task: z.string(),
  /** How the prompts were written; older files do not say. */
  template: z.string().optional(),
  /** How many prompts. */
  prompts: z.int().min(1),
  /** Share of the layers in which each expert is active, mean over the prompts (the paper's Figure 2). */
  activeShare: figures,
  /** Share of the layers in which each expert is the most probable one, mean over the prompts. */
  argmaxShare: figures,
  /** Balance loss over the prompts, mean over layers; null without routers. */
  balance: z.number().nullable(),
  /** Prompts for which each expert was active: layer → expert → count. */
  layers: z.array(figures),
  /** The first prompts one by one: layer → expert → gate, 0 where it is not active. */
  examples: z
    .array(
      z.object({
        /** The prompt. */
        prompt: z.string(),
        /** Layer → expert → gate. */
        layers: z.array(figures),
      }),
    )
    .default([]),
});

/** How an adapter routes a task's prompts. */
export type RoutingFigures = z.output<typeof routingFiguresSchema>;

/** A text's decision, layer → expert → gate. `gates`: of the experts, in their order; one that is missing is 1. */
export const gatesByExpert = ({
  experts,
  gates,
}: {
  readonly experts: readonly (readonly string[])[];
  readonly gates: readonly (readonly number[])[];
}): Record<string, number>[] =>
  experts.map((names, layer) =>
    Object.fromEntries(names.map((expert, place) => [expert, gates[layer]?.[place] ?? 1])),
  );

export const routingRecordSchema = routingFiguresSchema.extend({ format: z.literal(1) });

/** A record's text; its file is named after the task. */
export const routingRecordText = (routing: RoutingFigures): string => `${JSON.stringify({ format: 1, ...routing })}\n`;
