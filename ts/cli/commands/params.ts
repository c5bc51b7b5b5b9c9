import { z } from "zod";
import { applyAssignments } from "../../client/load-spec.js";
import { openSession } from "../open-session.js";
import { methodSchema } from "../../spec/method.js";
import { parseWith } from "../../spec/parse.js";
import { withPreset } from "../../spec/presets.js";
import { printResult, table, type CommandContext } from "../output.js";

const optionsSchema = z.object({ method: z.string(), set: z.array(z.string()).default([]) });

const grouped = (value: number): string => value.toLocaleString("en");

/** `milora params <model>`: the parameters of a method on a model, counted from its config. */
export const params = async (context: CommandContext, raw: object, model: string): Promise<void> => {
  const options = parseWith(optionsSchema, raw, { what: "The command" });
  const assignments = options.set.map((assignment) => assignment.replace(/^method\./, ""));
  const method = parseWith(methodSchema, withPreset(applyAssignments({ kind: options.method }, assignments)), {
    what: "The method",
  });
  await using milora = await openSession({ model });
  const count = await milora.params(method);
  const parts = Object.entries(count.routerParts).map(([name, size]): readonly [string, string] => [
    `  ${name}`,
    grouped(size),
  ]);
  printResult(context, { method: method.kind, ...count }, () => [
    ...table([
      ["trainable", grouped(count.trainable)],
      ["adapter modules", grouped(count.adapter)],
      ["routers", grouped(count.routers)],
      ...parts,
      ["adapter modules + W_r", grouped(count.adapterAndProjection)],
      ...count.modules.map(({ name, parameters }): readonly [string, string] => [
        `module ${name}`,
        grouped(parameters),
      ]),
    ]),
    "",
    ...table([
      ["activated", "min", "mean", "max"],
      ["adapter modules", ...[count.activated.min, count.activated.mean, count.activated.max].map(grouped)],
      [
        "with W_r",
        ...[
          count.activatedWithProjection.min,
          count.activatedWithProjection.mean,
          count.activatedWithProjection.max,
        ].map(grouped),
      ],
    ]),
    ...(count.note === undefined ? [] : ["", count.note]),
  ]);
};
