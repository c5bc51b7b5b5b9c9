import { join } from "node:path";
import { z } from "zod";
import { hubRecordText } from "../../client/hub.js";
import { runOfAdapter } from "../../runs/run-folder.js";
import { resultName } from "../../runs/stored-results.js";
import { hubChoice } from "../../spec/data.js";
import { quantizationSchema } from "../../spec/train.js";
import { parseWith } from "../../spec/parse.js";
import { writeFileAtomic } from "../../util/files.js";
import { counted } from "../../util/text.js";
import { createProgress, type Progress } from "../../util/progress.js";
import { commaList } from "../comma-list.js";
import { openSession } from "../open-session.js";
import { percent, printResult, table, type CommandContext } from "../output.js";

const optionsSchema = z.object({
  model: z.string(),
  tasks: commaList,
  adapter: z.string().optional(),
  data: z.string().optional(),
  hub: z.string().optional(),
  hubConfig: z.string().optional(),
  hubRevision: z.string().optional(),
  scorer: z.enum(["generate", "label", "loglik"]),
  template: z.string().optional(),
  reader: z.enum(["robust", "compat"]),
  beams: z.int().min(1),
  limit: z.int().min(1).optional(),
  maxNewTokens: z.int().min(1).optional(),
  outputs: z.string().optional(),
  device: z.string(),
  dtype: z.enum(["auto", "float32", "bfloat16", "float16"]),
  quantization: quantizationSchema,
});

/** Progress over several tasks, a line each. */
const taskProgress = () => {
  let current: { readonly task: string; readonly line: Progress } | undefined;
  return (task: string, done: number, total: number): void => {
    if (current?.task !== task) {
      current?.line.close();
      current = { task, line: createProgress({ stream: process.stderr, label: task, total, unit: "rows" }) };
    }
    current.line.update(done);
    if (done >= total) current.line.close();
  };
};

/** `milora eval`: scores on tasks; an adapter in a run's folder keeps its results there. */
export const evaluateCommand = async (context: CommandContext, raw: object): Promise<void> => {
  const options = parseWith(optionsSchema, raw, { what: "The command" });
  const {
    model,
    device,
    dtype,
    quantization,
    tasks,
    adapter,
    data: dir,
    hub: id,
    hubConfig: config,
    hubRevision: revision,
  } = options;
  const isHub = id !== undefined || config !== undefined || revision !== undefined;
  await using milora = await openSession({ model, device, dtype, quantization });
  const { results } = await milora.evaluate({
    ...options,
    tasks,
    adapter,
    dir,
    hub: isHub ? parseWith(hubChoice, { id, config, revision }, { what: "The choice of rows on the hub" }) : undefined,
    signal: context.signal,
    onProgress: taskProgress(),
  });
  const run = adapter === undefined ? undefined : runOfAdapter(adapter);
  if (run !== undefined)
    for (const result of results)
      await writeFileAtomic(join(run.results, `${resultName(result)}.json`), `${JSON.stringify(result)}\n`);
  if (options.outputs !== undefined) await writeFileAtomic(options.outputs, `${JSON.stringify({ results })}\n`);
  const short = results.map(({ rows: _rows, ...figures }) => figures);
  printResult(context, { results: short }, () => [
    ...table([
      ["task", "accuracy", "95 %", "correct", "unparsed", "chance", "majority"],
      ...short.map((result) => [
        result.task,
        ...(result.accuracy === null
          ? ["-", "-", `${result.unscored ?? 0} to judge`, "-", "-", "-"]
          : [
              percent(result.accuracy),
              result.interval.map(percent).join(" to "),
              `${result.correct}/${result.total}`,
              String(result.unparsed),
              percent(result.chance),
              percent(result.majority),
            ]),
      ]),
    ]),
    ...short.map((result) => `${result.task}: ${result.protocol}`),
    ...short.flatMap(({ task, source }) =>
      source === undefined ? [] : [`${task}: rows of ${hubRecordText(source)}`],
    ),
    ...short.flatMap(({ task, truncated = 0 }) =>
      truncated === 0
        ? []
        : [`${task}: ${counted(truncated, "prompt")} lost the start, too long for the model's context`],
    ),
  ]);
};
