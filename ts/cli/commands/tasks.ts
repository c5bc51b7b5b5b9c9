import { z } from "zod";
import { listTasks } from "../../client/offline.js";
import { parseWith } from "../../spec/parse.js";
import { percent, printResult, table, type CommandContext } from "../output.js";

const optionsSchema = z.object({ data: z.string().optional() });

/** `milora tasks`: the tasks, with the rows found under `--data`. */
export const tasks = async (context: CommandContext, raw: object): Promise<void> => {
  const { data } = parseWith(optionsSchema, raw, { what: "The command" });
  const found = await listTasks({ dir: data });
  printResult(context, { tasks: found }, () =>
    table([
      ["task", "version", "chance", "rows", "in both", "templates", "scorers"],
      ...found.map(({ task, version, chance, rows, duplicates, templates, scorers }) => [
        task,
        String(version),
        percent(chance),
        Object.entries(rows)
          .map(([split, count]) => `${split} ${count ?? "-"}`)
          .join(", "),
        duplicates === null ? "-" : String(duplicates),
        templates.join(", "),
        scorers.join(", "),
      ]),
    ]),
  );
};
