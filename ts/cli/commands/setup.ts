import { z } from "zod";
import { describeSetupProgress, ensureEnvironment, inspectBackend } from "../../client/environment.js";
import { parseWith } from "../../spec/parse.js";
import { printResult, tell, type CommandContext } from "../output.js";

const optionsSchema = z.object({ demo: z.boolean().default(false) });

/** `milora setup`: makes the Python environment, or repairs it; says what is used. */
export const setup = async (context: CommandContext, raw: object): Promise<void> => {
  const options = parseWith(optionsSchema, raw, { what: "The command" });
  const environment = await ensureEnvironment({
    extras: options.demo ? ["demo"] : [],
    onProgress: (progress) => tell(describeSetupProgress(progress)),
    signal: context.signal,
  });
  const { torch, devices } = await inspectBackend();
  const device = devices[0]?.type ?? "cpu";
  const result = {
    python: environment.python,
    source: environment.source,
    created: environment.created,
    torch,
    device,
  };
  printResult(context, result, () => [
    `Python ${environment.python} (${environment.source}${environment.created ? ", made now" : ""})`,
    `torch ${torch}, device ${device}`,
  ]);
};
