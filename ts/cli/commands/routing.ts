import { join } from "node:path";
import { z } from "zod";
import { routingRecordText, type RoutingFigures } from "../../runs/routing-record.js";
import { runOfAdapter } from "../../runs/run-folder.js";
import { parseWith } from "../../spec/parse.js";
import { writeFileAtomic } from "../../util/files.js";
import { commaList } from "../comma-list.js";
import { openSession } from "../open-session.js";
import { percent, printResult, table, type CommandContext } from "../output.js";

const optionsSchema = z.object({
  model: z.string(),
  adapter: z.string(),
  tasks: commaList,
  data: z.string().optional(),
  template: z.string().optional(),
  limit: z.int().min(1).optional(),
  explain: z.int().min(0),
  out: z.string().optional(),
  device: z.string(),
  dtype: z.enum(["auto", "float32", "bfloat16", "float16"]),
});

const shareLines = (routing: readonly RoutingFigures[]): readonly string[] => {
  const experts = Object.keys(routing[0]?.activeShare ?? {});
  return [
    "Share of the layers in which each expert is active:",
    ...table([
      ["task", "prompts", ...experts],
      ...routing.map(({ task, prompts, activeShare }) => [
        task,
        String(prompts),
        ...experts.map((expert) => percent(activeShare[expert] ?? 0)),
      ]),
    ]),
  ];
};

/** `milora routing`: which experts an adapter gives a task's prompts; an adapter in a run's folder keeps it there. */
export const routingCommand = async (context: CommandContext, raw: object): Promise<void> => {
  const { data: dir, device, dtype, model, out, ...options } = parseWith(optionsSchema, raw, { what: "The command" });
  await using milora = await openSession({ model, device, dtype });
  const routing = await milora.routing({ ...options, dir, signal: context.signal });
  const run = runOfAdapter(options.adapter);
  if (run !== undefined)
    for (const figures of routing)
      await writeFileAtomic(join(run.routing, `${figures.task}.json`), routingRecordText(figures));
  if (out !== undefined) await writeFileAtomic(out, `${JSON.stringify({ routing })}\n`);
  printResult(context, { routing }, () => shareLines(routing));
};
