import { z } from "zod";
import { parseWith } from "../../spec/parse.js";
import { policySchema } from "../../spec/adapters/milora.js";
import { readJsonFile } from "../../util/files.js";
import { openSession } from "../open-session.js";
import { printResult, type CommandContext } from "../output.js";

const optionsSchema = z.object({ out: z.string(), policy: z.string().optional() });

/** `milora export <adapter>`: a plain PEFT LoRA adapter of the experts that are always active. */
export const exportCommand = async (context: CommandContext, raw: object, folder: string): Promise<void> => {
  const { out, policy: file } = parseWith(optionsSchema, raw, { what: "The command" });
  const policy =
    file === undefined
      ? undefined
      : parseWith(policySchema, await readJsonFile(file, "the policy"), { what: "The policy", file });
  await using milora = await openSession({ model: "none" });
  const result = await milora.exportLora({ folder, out, policy });
  printResult(context, result, () => [`${result.folder}: ${result.parameters.toLocaleString("en")} parameters`]);
};
