import { z } from "zod";
import { gatesByExpert, routingFiguresSchema, type RoutingFigures } from "../../runs/routing-record.js";
import { parseWith } from "../../spec/parse.js";
import { isRecord } from "../../util/records.js";
import { oneLine } from "../../util/text.js";
import type { RoutingInput } from "./inputs.js";

/** Older files, and those of milora.routing in Python's hands, hold less. */
const taskRouting = routingFiguresSchema.partial({ activeShare: true, argmaxShare: true, balance: true });

const promptRouting = z.object({
  prompt: z.string(),
  routing: z
    .object({ experts: z.array(z.array(z.string())), gates: z.array(z.array(z.number())) })
    .nullable()
    .optional(),
});

type TaskRouting = Pick<RoutingFigures, "task" | "prompts" | "layers" | "examples">;

/** A task's routing, and that of its prompts that are known one by one. `source`: the run that it is of. */
export const routingInputs = (
  { task, prompts, layers, examples }: TaskRouting,
  source: string | null,
): readonly RoutingInput[] => [
  {
    source,
    name: task,
    measure: "share of prompts",
    layers: layers.map((layer) =>
      Object.fromEntries(Object.entries(layer).map(([expert, count]) => [expert, count / prompts])),
    ),
  },
  ...examples.map((example): RoutingInput => ({
    source: source === null ? task : `${task}, ${source}`,
    name: oneLine(example.prompt),
    measure: "gate",
    layers: example.layers,
  })),
];

const ofTasks = (value: unknown, file: string): readonly RoutingInput[] =>
  parseWith(z.array(taskRouting), value, { what: "The file of routing figures", file }).flatMap((task) =>
    routingInputs(task, null),
  );

const ofPrompts = (value: unknown, file: string): readonly RoutingInput[] =>
  parseWith(z.array(promptRouting), value, { what: "The file of generated texts", file }).flatMap(
    ({ prompt, routing }): readonly RoutingInput[] => {
      if (routing === undefined || routing === null) return [];
      return [{ source: null, name: oneLine(prompt), measure: "gate", layers: gatesByExpert(routing) }];
    },
  );

/** Routing in a file: of `milora routing`, `milora.routing`, or of `generate --explain`; nothing where it is neither. */
export const routingOf = (value: unknown, file: string): readonly RoutingInput[] | undefined => {
  if (Array.isArray(value)) return ofTasks(value, file);
  if (!isRecord(value)) return undefined;
  if (Array.isArray(value["routing"])) return ofTasks(value["routing"], file);
  if (Array.isArray(value["outputs"])) return ofPrompts(value["outputs"], file);
  return "layers" in value ? ofTasks([value], file) : undefined;
};
