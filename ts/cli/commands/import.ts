import { z } from "zod";
import { applyAssignments } from "../../client/load-spec.js";
import { parseWith } from "../../spec/parse.js";
import { openSession } from "../open-session.js";
import { printResult, type CommandContext } from "../output.js";

const optionsSchema = z.object({
  model: z.string(),
  out: z.string(),
  set: z.array(z.string()).default([]),
  seed: z.int().min(0),
});
const record = z.record(z.string(), z.unknown());

/** `milora import <lora>`: a PEFT LoRA adapter's modules as experts, with new routers. */
export const importCommand = async (context: CommandContext, raw: object, folder: string): Promise<void> => {
  const { model, out, set, seed } = parseWith(optionsSchema, raw, { what: "The command" });
  const assignments = set.map((assignment) => assignment.replace(/^method\./, ""));
  const method = record.parse(applyAssignments({}, assignments));
  await using milora = await openSession({ model });
  const result = await milora.importLora({ folder, out, method, seed });
  printResult(context, result, () => [`${result.folder}: ${result.parameters.toLocaleString("en")} parameters`]);
};
