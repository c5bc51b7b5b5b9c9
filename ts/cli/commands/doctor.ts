import { z } from "zod";
import { inspectEnvironment, inspectRay } from "../../client/environment.js";
import { parseWith } from "../../spec/parse.js";
import { printResult, type CommandContext } from "../output.js";

const optionsSchema = z.object({ ray: z.union([z.boolean(), z.string().min(1)]).default(false) });

/** `milora doctor`: every check with what to do; exit code 1 where one failed. */
export const doctor = async (context: CommandContext, raw: object): Promise<number> => {
  const { ray } = parseWith(optionsSchema, raw, { what: "The command" });
  const environment = await inspectEnvironment({ signal: context.signal });
  const ofRay = ray === false || !environment.ok ? [] : await inspectRay(ray === true ? "auto" : ray);
  const checks = [...environment.checks, ...ofRay];
  const ok = checks.every((check) => check.ok);
  const result = { ok, python: environment.python?.python ?? null, device: environment.device, checks };
  printResult(context, result, () =>
    checks.map((check) => `${check.ok ? "ok   " : "FAIL "} ${check.name}: ${check.detail}`),
  );
  return ok ? 0 : 1;
};
